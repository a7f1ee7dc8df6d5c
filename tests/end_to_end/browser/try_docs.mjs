// Opens a page of API documentation, executes one operation on it and tells what happened.
//   node try_docs.mjs '{"chromium": "/usr/bin/chromium", "url": "http://127.0.0.1:3000/docs",
//     "method": "post", "path": "/applications", "parameters": {}, "screenshot": "docs.png"}'
// Prints {"status": "201", "answer": "…", "requests": [url, …], "errors": ["…"]}.
import { launch } from "./launch.mjs";

const task = JSON.parse(process.argv[2]);
const patience = 20_000;

const browser = await launch(task.chromium);

async function tryOperation(page) {
  await page.goto(task.url);
  const operation = page.locator(`.opblock-${task.method}`, {
    has: page.locator(`.opblock-summary-path[data-path="${task.path}"]`),
  });
  await operation.locator(".opblock-summary-control").click();
  // Some pages are set up so that an operation opens ready to be tried.
  await operation.locator(".execute, .try-out__btn").first().waitFor();
  if ((await operation.locator(".execute").count()) === 0) {
    await operation.locator(".try-out__btn").click();
  }
  for (const [name, value] of Object.entries(task.parameters)) {
    await operation.locator(`tr[data-param-name="${name}"] input`).fill(value);
  }
  await operation.locator(".execute").click();
  const live = operation.locator(".live-responses-table tr.response").first();
  await live.locator("td.response-col_status").waitFor();
  await live.scrollIntoViewIfNeeded();
  await page.screenshot({ path: task.screenshot });
  return {
    status: (await live.locator("td.response-col_status").innerText()).split("\n")[0],
    answer: await live.locator("td.response-col_description").innerText(),
  };
}

try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 1100 } });
  page.setDefaultTimeout(patience);
  const requests = [];
  const errors = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (line) => line.type() === "error" && errors.push(line.text()));
  const seen = await tryOperation(page);
  process.stdout.write(JSON.stringify({ ...seen, requests, errors }) + "\n");
} finally {
  await browser.close();
}
