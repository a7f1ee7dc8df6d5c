// Search in a chat, as one types.
import { arrowKeys, byId, element, senderName, timeOf } from "./dom.js";
import { excerpt } from "./highlight.js";
import { inWords } from "./words.js";

const PAUSE_MILLISECONDS = 150;
const MOST = 30;

export class Search {
  // Answers may overtake each other: only that to the last question counts.
  asked = 0;

  constructor({ onChosen }) {
    this.onChosen = onChosen;
    this.field = byId("keyword");
    this.panel = byId("results");
    this.found = byId("found");
    this.field.addEventListener("input", () => this.#typed());
    this.field.addEventListener("keydown", (event) => this.#keyInField(event));
    this.panel.addEventListener("keydown", (event) => event.key === "Escape" && this.#leave());
    byId("search").addEventListener("submit", (event) => this.#submitted(event));
    this.found.addEventListener("click", ({ target }) => this.#clicked(target.closest("button")));
    arrowKeys(this.found, () => this.#buttons);
  }

  get #buttons() {
    return [...this.found.querySelectorAll("button")];
  }

  open(chat) {
    this.chat = chat;
    this.close();
  }

  close() {
    this.asked += 1;
    this.field.value = "";
    this.panel.hidden = true;
  }

  #leave() {
    this.close();
    this.field.focus();
  }

  #keyInField(event) {
    if (event.key === "Escape") this.close();
    else if (event.key === "ArrowDown" && this.#buttons.length > 0) this.#buttons[0].focus();
    else return;
    event.preventDefault();
  }

  #submitted(event) {
    event.preventDefault();
    this.#ask();
  }

  #typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#ask(), PAUSE_MILLISECONDS);
  }

  async #ask() {
    clearTimeout(this.timer);
    const keyword = this.field.value;
    const question = (this.asked += 1);
    if (keyword.trim() === "") return this.#show("", []);
    try {
      const pages = this.chat.search(keyword, { highlight: true, pageSize: MOST }).pages();
      const { items } = (await pages.next()).value;
      if (question === this.asked) this.#show(countInWords(items.length), items);
    } catch (error) {
      if (question === this.asked) this.#show(inWords(error), []);
    }
  }

  #show(words, messages) {
    this.panel.hidden = words === "";
    byId("search-status").textContent = words;
    this.found.replaceChildren(...messages.map(resultItem));
  }

  #clicked(button) {
    if (button === null) return;
    this.close();
    this.onChosen(Number(button.dataset.number));
  }
}

function countInWords(count) {
  if (count === 0) return "No message contains this.";
  if (count === MOST) return `The best ${MOST} messages`;
  return count === 1 ? "1 message" : `${count} messages`;
}

function resultItem({ number, sender, created_at, highlight }) {
  const meta = element("span", { class: "meta" }, senderName({ sender }), ` #${number} `, timeOf(created_at));
  const text = element("span", { class: "excerpt", dir: "auto" }, ...excerpt(highlight));
  const button = element("button", { type: "button", "data-number": number }, meta, text);
  return element("li", {}, button);
}
