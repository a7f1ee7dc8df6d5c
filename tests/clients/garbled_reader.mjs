// Gets responses that can't be decompressed, and have no length, and one whose body never ends and
// begins when the time is over; then none, from a server and from a `fetch`. Prints what they are to the
// client.
//
//     node garbled_reader.mjs MODULE

import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const { Client } = await import(pathToFileURL(process.argv[2]));
let status = 201;
const server = createServer((socket) => {
  socket.once("data", () => socket.end(`HTTP/1.0 ${status} X\r\nContent-Encoding: gzip\r\n\r\nno gzip`));
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const url = `http://127.0.0.1:${server.address().port}`;
const options = { crudUrl: url, numberingUrl: url, timeout: 0.5, retries: { seconds: 0 } };
const client = new Client(options);

/** Takes no notice of the signal. */
async function lateFetch() {
  await sleep(2 * 1000 * options.timeout);
  return new Response(new ReadableStream());
}

// A response that is never done with fails the test instead of holding it.
setTimeout(() => process.exit(1), 20_000).unref();

const names = [];
for (status of [201, 503]) {
  const failed = await client.application("A").createChat().catch((error) => error);
  names.push(failed.name);
}
const late = new Client({ ...options, fetch: lateFetch }).application("A").createChat();
names.push((await late.catch((error) => error)).message);
server.close();

const silent = createServer((socket) => socket.resume().on("error", () => {}));
await new Promise((done) => silent.listen(0, "127.0.0.1", done));
const nowhere = `http://127.0.0.1:${silent.address().port}`;
for (const fetch of [undefined, () => new Promise(() => {})]) {
  const late = new Client({ ...options, numberingUrl: nowhere, fetch }).application("A").createChat();
  names.push((await late.catch((error) => error)).message);
}
silent.close();
console.log(JSON.stringify(names));
