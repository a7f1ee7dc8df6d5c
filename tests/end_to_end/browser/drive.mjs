// Opens windows and does in them what each line of its input says; answers with a line of JSON.
//   node drive.mjs /usr/bin/chromium
//   {"open": "ann", "url": "http://127.0.0.1:3000/demo", "options": {"colorScheme": "dark"}}
//   {"window": "ann", "on": "#send", "call": "click", "args": []}      a locator's method
//   {"window": "ann", "on": "@keyboard", "call": "press", "args": ["Enter"]}
//   {"window": "ann", "axe": {"runOnly": ["wcag2a"]}}                   violations of accessibility
//   {"window": "ann", "noted": true}                                    errors, requests, responses
//   {"closeAll": true}                                                  all windows, and their storage
// Each window has a browser context of its own, which `@context` names, unless it is opened `beside`
// another; `@page` is the page.
// Ends with its input.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { launch } from "./launch.mjs";

const PATIENCE = 20_000;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await launch(process.argv[2]);
const windows = new Map();

async function newContext(options) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 760 }, ...options });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]).catch(() => {});
  return context;
}

async function open({ open: name, url, beside, options }) {
  const context = windows.get(beside)?.context ?? (await newContext(options));
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const noted = { errors: [], requests: [] };
  page.on("pageerror", (error) => noted.errors.push(String(error)));
  page.on("console", (line) => line.type() === "error" && noted.errors.push(line.text()));
  page.on("request", (request) =>
    noted.requests.push({ method: request.method(), url: request.url(), headers: request.headers() }),
  );
  windows.set(name, { page, context, noted });
  await page.goto(url);
}

async function call({ page, context }, { on, call: method, args }) {
  const { keyboard, clock } = page;
  const places = { "@page": page, "@context": context, "@keyboard": keyboard, "@clock": clock };
  const result = await (places[on] ?? page.locator(on))[method](...args);
  return typeof result === "object" && result !== null && !Array.isArray(result) ? "" : result;
}

async function violations({ page }, options) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
  const wanted = { ...options, resultTypes: ["violations"] };
  const found = await page.evaluate((options) => window.axe.run(document, options), wanted);
  return found.violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map(({ html }) => html) }));
}

async function closeAll() {
  windows.clear();
  await Promise.all(browser.contexts().map((context) => context.close()));
}

async function answer(command) {
  if (command.open) return open(command);
  if (command.closeAll) return closeAll();
  const window = windows.get(command.window);
  if (command.axe) return violations(window, command.axe);
  return command.noted ? window.noted : call(window, command);
}

try {
  for await (const line of createInterface({ input: process.stdin })) {
    const result = await answer(JSON.parse(line)).then(
      (result) => ({ result: result ?? null }),
      (error) => ({ error: String(error.stack) }),
    );
    process.stdout.write(JSON.stringify(result) + "\n");
  }
} finally {
  await browser.close();
}
