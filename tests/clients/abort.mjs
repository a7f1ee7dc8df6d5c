// Follows a chat that stays silent, aborts once it is connected, and prints what it was told; once with
// the global `fetch`, and once with one that takes nothing but a request. Last, follows one whose events
// arrive together, aborts with the first one, and prints the events that it got.
//
//     node abort.mjs MODULE

import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const { Client } = await import(pathToFileURL(process.argv[2]));
for (const fetch of [undefined, (request) => globalThis.fetch(request)]) {
  let connectionClosed;
  const closed = new Promise((done) => (connectionClosed = done));
  const server = createServer((_, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write("event: ready\nid: 0.0\ndata: {}\n\n");
    response.on("close", connectionClosed);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${server.address().port}`;
  const chat = new Client({ crudUrl: url, numberingUrl: url, fetch }).application("A").chat(1);

  const controller = new AbortController();
  const states = [];
  function onConnection(connected) {
    states.push(connected);
    // Not before the iterator waits for the next event.
    if (connected) setTimeout(() => controller.abort(), 50);
  }
  for await (const event of chat.follow({ signal: controller.signal, onConnection })) {
    states.push(event);
  }
  await closed;
  server.close();
  console.log(JSON.stringify(states));
}

const event = "event: message.created\nid: 1.0\ndata: {}\n\n";
const server = createServer((_, response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.end(event.repeat(3));
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const url = `http://127.0.0.1:${server.address().port}`;
const chat = new Client({ crudUrl: url, numberingUrl: url }).application("A").chat(1);
const controller = new AbortController();
const types = [];
for await (const { type } of chat.follow({ signal: controller.signal })) {
  types.push(type);
  controller.abort();
}
server.close();
console.log(JSON.stringify(types));
