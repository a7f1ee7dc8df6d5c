// Prints what an update returns whose response was lost, after the change was made, and where a field is undefined.
//
//     node undefined_change.mjs MODULE

import { pathToFileURL } from "node:url";

const { Client } = await import(pathToFileURL(process.argv[2]));
const crudUrl = "http://127.0.0.1:3000";
const answers = [
  () => Promise.reject(new TypeError("lost")),
  () => Response.json({ code: "precondition_failed" }, { status: 412 }),
  () => Response.json({ number: 1, body: "mine", metadata: { a: 1 } }),
];
const client = new Client({ crudUrl, numberingUrl: crudUrl, fetch: async () => answers.shift()() });
const chat = client.application("A".repeat(24)).chat(1);
const { body } = await chat.updateMessage(1, { body: "mine", metadata: undefined, ifMatch: '"1"' });
console.log(JSON.stringify(body));
