// Reads a chat without a limit of time, and prints its number.
//
//     node no_timeout.mjs MODULE

import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const { Client } = await import(pathToFileURL(process.argv[2]));
const server = createServer(async (_, response) => {
  await sleep(100);
  response.end('{"number": 1}');
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const url = `http://127.0.0.1:${server.address().port}`;
const options = { crudUrl: url, numberingUrl: url, timeout: Infinity, retries: { seconds: 0 } };
const { number } = await new Client(options).application("A").chat(1).read();
server.close();
console.log(number);
