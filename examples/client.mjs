// A client in JavaScript (Node 18 or newer): creates, reads, follows, searches.
//
//     (cd clients/typescript && npm ci && npm pack)                          (in a clone of the repository)
//     npm install path/to/clients/typescript/chat-backend-client-1.0.0.tgz   (in a project of yours, with this file)
//     node client.mjs

import { Client } from "chat-backend-client";

const client = new Client({
  crudUrl: process.env.CRUD_URL ?? "http://127.0.0.1:3000",
  numberingUrl: process.env.NUMBERING_URL ?? "http://127.0.0.1:8080",
});
const application = client.application((await client.createApplication("Example")).access_token);
const chat = application.chat((await application.createChat()).number);
const { number } = await chat.createMessage("Hello from JavaScript");
console.log(await chat.message(number, { untilStored: true }));
for await (const { message } of chat.follow({ after: 0 })) {
  console.log(message);
  break;
}
let found = [];
while (found.length === 0) {
  await new Promise((done) => setTimeout(done, 200)); // until it is in the index
  for await (const message of chat.search("javas")) found.push(message);
}
console.log(...found);
