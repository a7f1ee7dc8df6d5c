// Prints what is thrown for malformed addresses and for numbers that JSON does not have, and how many requests were
// sent.
//
//     node mistakes.mjs MODULE

import { pathToFileURL } from "node:url";

const { Client } = await import(pathToFileURL(process.argv[2]));
const good = "http://127.0.0.1:3000";
const addresses = ["crudUrl", "numberingUrl"].flatMap((option) =>
  ["", undefined, "127.0.0.1:3000", "localhost:3000", ...["?a=b", "#a", "/?", "#"].map((end) => good + end)].map((address) => {
    try {
      return String(new Client({ crudUrl: good, numberingUrl: good, [option]: address }));
    } catch (error) {
      return String(error);
    }
  }),
);

let requests = 0;
const count = async () => {
  requests++;
  return Response.json({});
};
const chat = new Client({ crudUrl: good, numberingUrl: good, fetch: count }).application("A".repeat(24)).chat(1);
const values = [];
for (const value of [NaN, Infinity, -Infinity]) {
  const creation = chat.createMessage("hi", { metadata: { nested: [{ value }] } });
  values.push(await creation.then(JSON.stringify, String));
}
console.log(JSON.stringify([addresses, values, requests]));
