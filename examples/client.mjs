// A client in JavaScript (Node 18 or newer): creates, retries safely, reads, follows, searches.
//
//     node examples/client.mjs

import { randomUUID } from "node:crypto";

const CRUD = process.env.CRUD_URL ?? "http://127.0.0.1:3000";
const NUMBERING = process.env.NUMBERING_URL ?? "http://127.0.0.1:8080";
const sleep = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

// Creates once, however often it has to be sent: the key is the same in every try,
// so if an answer was lost, the service gives it again.
async function post(url, body) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": randomUUID() };
  for (let attempt = 0; attempt < 5; attempt++) {
    let response;
    try {
      response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    } catch {
      await sleep(1);
      continue;
    }
    if (response.status === 503) {
      await sleep(Number(response.headers.get("Retry-After")));
      continue;
    }
    if (!response.ok) throw new Error((await response.json()).detail);
    return response.json();
  }
  throw new Error(`no answer from ${url}`);
}

// Reads what was just created; it takes some milliseconds to be stored.
async function waitFor(url) {
  for (;;) {
    const response = await fetch(url);
    const body = await response.json();
    if (body.code !== "not_stored_yet") return body;
    await sleep(0.05);
  }
}

// Yields the messages of a chat that are created or changed, without end. Whatever breaks off goes
// on behind the last event: nothing is missed. In a browser, `EventSource` does this by itself.
async function* follow(url, lastEventId) {
  for (;;) {
    try {
      // A comment comes every 15 seconds, so 30 without anything mean a dead connection.
      const silence = new AbortController();
      let timer = setTimeout(() => silence.abort(), 30_000);
      const headers = { "Last-Event-ID": lastEventId };
      const response = await fetch(url, { headers, signal: silence.signal });
      try {
        let text = "";
        for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
          timer.refresh();
          const events = (text + chunk).split("\n\n");
          text = events.pop();
          for (const event of events) {
            const fields = Object.fromEntries(event.split("\n").map((line) => line.split(/: (.*)/s)));
            lastEventId = fields.id ?? lastEventId;
            if (fields.event?.startsWith("message.")) yield JSON.parse(fields.data);
          }
        }
      } finally {
        clearTimeout(timer);
        silence.abort();
      }
    } catch (error) {
      if (error.name !== "AbortError" && !(error instanceof TypeError)) throw error;
    }
    await sleep(2);
  }
}

// Applications are created by crud_service, which knows no idempotency keys: once, no retries.
const created = await fetch(`${CRUD}/applications`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ name: "Example" }),
});
const application = await created.json();
let path = `/applications/${application.access_token}/chats`;
const chat = await post(`${NUMBERING}${path}`, {});
path += `/${chat.number}/messages`;
const message = await post(`${NUMBERING}${path}`, { body: "Hello from JavaScript" });
console.log(await waitFor(`${CRUD}${path}/${message.number}`));
for await (const followed of follow(`${CRUD}${path}/stream`, "0.0")) {
  console.log(followed);
  break;
}
await sleep(2);
console.log(await (await fetch(`${CRUD}${path}/search?keyword=javas`)).json());
