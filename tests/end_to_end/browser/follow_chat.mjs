// Opens pages and follows a chat from each of them with the browser's own EventSource.
//   node follow_chat.mjs '{"chromium": "/usr/bin/chromium", "pages": ["http://127.0.0.1:3000/docs"],
//     "stream": "/applications/…/chats/1/messages/stream"}'
// Answers each line of its input with a line of JSON: a list of what each page has seen so far.
// Ends with its input.
import { createInterface } from "node:readline";
import { launch } from "./launch.mjs";

const task = JSON.parse(process.argv[2]);
const browser = await launch(task.chromium);

// Runs in the page. What the browser gives up on, a page opens again with the last id in the
// query, as it can set no header.
function follow(stream) {
  const seen = { events: [], opened: 0, reopened: 0, last: "" };
  const keep = (event) => {
    seen.last = event.lastEventId;
    seen.events.push({ type: event.type, id: event.lastEventId, data: JSON.parse(event.data) });
  };
  const open = (query) => {
    const source = new EventSource(stream + query);
    source.onopen = () => (seen.opened += 1);
    for (const type of ["ready", "reset", "message.created", "message.updated"]) {
      source.addEventListener(type, keep);
    }
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return;
      seen.reopened += 1;
      const again = seen.last ? `?last_event_id=${seen.last}` : query;
      setTimeout(() => open(again), 500);
    };
  };
  window.seen = seen;
  open("?after=0");
}

try {
  const pages = [];
  for (const url of task.pages) {
    const page = await browser.newPage();
    await page.goto(url);
    await page.evaluate(follow, task.stream);
    pages.push(page);
  }
  for await (const _ of createInterface({ input: process.stdin })) {
    const seen = await Promise.all(pages.map((page) => page.evaluate(() => window.seen)));
    process.stdout.write(JSON.stringify(seen) + "\n");
  }
} finally {
  await browser.close();
}
