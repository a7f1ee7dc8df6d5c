// Answers each line, a call of the client, with a line of JSON.
//
//     node driver.mjs MODULE CRUD_URL NUMBERING_URL ADMIN_TOKEN RETRY_SECONDS

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [module, crudUrl, numberingUrl, adminToken, seconds] = process.argv.slice(2);
const { ChatBackendError, Client } = await import(pathToFileURL(module));
const retries = { seconds: Number(seconds) };
const client = new Client({ crudUrl, numberingUrl, adminToken, retries });

function find([token, number]) {
  if (token === undefined) return client;
  const application = client.application(token);
  return number === undefined ? application : application.chat(number);
}

async function call({ target, method, args, options, take }) {
  const result = find(target)[method](...args, options);
  if (!(Symbol.asyncIterator in result)) return result;
  const items = [];
  for await (const item of result) {
    if (items.push(item) === take) break;
  }
  return items;
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { result: await call(JSON.parse(line)) };
  } catch (error) {
    answer = { kind: error.name, fields: { message: error.message, ...error } };
    if (!(error instanceof ChatBackendError)) answer.fields.stack = error.stack;
  }
  console.log(JSON.stringify(answer));
}
