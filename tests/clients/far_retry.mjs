// Follows a chat whose server asks to be left alone for longer than a timer can run, for a moment, and
// prints how many requests it got.
//
//     node far_retry.mjs MODULE

import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const { Client } = await import(pathToFileURL(process.argv[2]));
const controller = new AbortController();
let requests = 0;
const server = createServer((_, response) => {
  if (++requests === 1) setTimeout(() => controller.abort(), 300);
  response.writeHead(503, { "Retry-After": "3000000" }).end();
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const url = `http://127.0.0.1:${server.address().port}`;
const chat = new Client({ crudUrl: url, numberingUrl: url }).application("A").chat(1);
for await (const _ of chat.follow({ signal: controller.signal }));
server.close();
console.log(requests);
