// Reads an export and follows a chat whose server falls silent and keeps its connections open; once with
// the global `fetch`, and once with one that takes no notice of the signal. Prints the error of the
// export, the messages followed, and after which event the client asked for the others.
//
//     node silent_reader.mjs MODULE

import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

// How long a stream may be silent is no option of the client. Only its own times pass sooner, and not
// those of Node.js, which gives up a silent body after five minutes.
const { setTimeout } = globalThis;
const sooner = (milliseconds) => (milliseconds === 15_000 || milliseconds === 40_000 ? 1_500 : milliseconds);
globalThis.setTimeout = (callback, milliseconds, ...rest) => setTimeout(callback, sooner(milliseconds), ...rest);

const { Client } = await import(pathToFileURL(process.argv[2]));

// A silence that never ends fails the test instead of holding it.
setTimeout(() => process.exit(1), 30_000).unref();

for (const fetch of [undefined, ({ url, headers }) => globalThis.fetch(url, { headers })]) {
  const open = new Set();
  const positions = [];
  const server = createServer((request, response) => {
    open.add(response);
    response.on("close", () => open.delete(response));
    if (request.url.endsWith("/export")) return response.write('{"type": "application"}\n{"type": ');
    const number = positions.push(request.headers["last-event-id"] ?? null);
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(`event: message.created\nid: ${number}.0\ndata: {"number": ${number}}\n\n`);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${server.address().port}`;
  const application = new Client({ crudUrl: url, numberingUrl: url, fetch }).application("A");

  const lines = application.export();
  await lines.next();
  const { name } = await lines.next().catch((error) => error);
  const numbers = [];
  for await (const { message } of application.chat(1).follow()) {
    if (numbers.push(message.number) === 2) break;
  }
  while (open.size > 0) await new Promise((done) => setTimeout(done, 10));
  server.close();
  console.log(JSON.stringify([name, numbers, positions]));
}
