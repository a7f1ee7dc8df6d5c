// Reads an export more slowly than a silent server is waited for, and prints the types of its lines.
//
//     node slow_reader.mjs MODULE

import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const TIMEOUT_SECONDS = 0.5;
const PAUSE_MILLISECONDS = 1500;

const { Client } = await import(pathToFileURL(process.argv[2]));
const server = createServer(async (_, response) => {
  response.writeHead(200, { "Content-Type": "application/x-ndjson" });
  response.write('{"type": "application"}\n');
  await sleep(TIMEOUT_SECONDS * 1000 / 5);
  response.end('{"type": "end"}\n');
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const url = `http://127.0.0.1:${server.address().port}`;
const client = new Client({ crudUrl: url, numberingUrl: url, timeout: TIMEOUT_SECONDS });

// An export that never ends fails the test instead of holding it.
setTimeout(() => process.exit(1), 20_000).unref();

const types = [];
for await (const { type } of client.application("A").export()) {
  types.push(type);
  await sleep(PAUSE_MILLISECONDS);
}
server.close();
console.log(JSON.stringify(types));
