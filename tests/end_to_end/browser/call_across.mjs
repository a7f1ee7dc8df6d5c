// Opens a page and calls another origin from there, as a script of the page.
//   node call_across.mjs '{"chromium": "/usr/bin/chromium", "page": "http://127.0.0.1:5173/",
//     "calls": [{"url": "…", "method": "POST", "headers": {}, "body": "…"}],
//     "stream": "…/messages/stream?after=0"}'
// Prints {"answers": [{"status", "headers", "text"} or {"error"}], "event": {"type", "id"} or null}.
import { launch } from "./launch.mjs";

const task = JSON.parse(process.argv[2]);
const browser = await launch(task.chromium);

// Runs in the page; `headers` are those that the browser lets a script see.
async function callAll(calls) {
  const answers = [];
  for (const { url, ...options } of calls) {
    try {
      const answer = await fetch(url, options);
      const text = await answer.text();
      answers.push({ status: answer.status, headers: Object.fromEntries(answer.headers), text });
    } catch (error) {
      answers.push({ error: String(error) });
    }
  }
  return answers;
}

function follow(stream) {
  return new Promise((resolve) => {
    const source = new EventSource(stream);
    const take = (event) => {
      source.close();
      resolve({ type: event.type, id: event.lastEventId });
    };
    source.addEventListener("ready", take);
    source.onerror = () => {
      source.close();
      resolve(null);
    };
  });
}

try {
  const page = await browser.newPage();
  await page.goto(task.page);
  const answers = await page.evaluate(callAll, task.calls);
  const event = task.stream ? await page.evaluate(follow, task.stream) : null;
  process.stdout.write(JSON.stringify({ answers, event }) + "\n");
} finally {
  await browser.close();
}
