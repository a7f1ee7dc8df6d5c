// Messages on their way. Each has an idempotency key from the start and keeps it until there is an
// answer, over retries and reloads of the page: it is created once, however often it is sent.
import { byId } from "./dom.js";
import { pendingItem } from "./message-item.js";
import { inWords, isTemporary } from "./words.js";

const RETRY_SECONDS = 10;

export class Outbox {
  entries = [];
  isSending = false;
  wake = () => {};

  /**
   * `highestShown` returns the number up to which the list has messages; `onRefused` gets the text
   * back of a message that no retry would help.
   */
  constructor(chat, place, { highestShown, onRefused }) {
    Object.assign(this, { chat, highestShown, onRefused, place: `outbox/${place}` });
    this.list = byId("pending");
    this.entries = this.#stored();
    this.controller = new AbortController();
    const { signal } = this.controller;
    this.list.addEventListener("click", (event) => this.#clicked(event), { signal });
    addEventListener("online", () => this.wake(), { signal });
    this.#show();
    this.#send();
  }

  /** Stop; what is not sent stays where the next outbox of this chat finds it. */
  close() {
    this.controller.abort();
    this.wake();
    this.list.replaceChildren();
  }

  add(body, sender) {
    this.entries.push({ key: newKey(), body, sender, state: "waiting" });
    this.#changed();
    this.#send();
  }

  /** The list has all messages up to a number: those are no longer pending. */
  delivered(highest) {
    const left = this.entries.filter(({ number }) => number === undefined || number > highest);
    if (left.length === this.entries.length) return;
    this.entries = left;
    this.#changed();
  }

  /** Send one after the other, so that numbers come in the order of writing. */
  async #send() {
    if (this.isSending) return;
    this.isSending = true;
    for (let entry; (entry = this.#next) && !this.controller.signal.aborted; ) await this.#sendOne(entry);
    this.isSending = false;
  }

  get #next() {
    return this.entries.find(({ state }) => state === "waiting" || state === "failed");
  }

  async #sendOne(entry) {
    if (!navigator.onLine) return this.#wait(entry, "not sent: this computer is offline", "waiting");
    this.#mark(entry, "waiting", "sending…");
    try {
      const { body, sender, key } = entry;
      const { number } = await this.chat.createMessage(body, { sender, idempotencyKey: key });
      entry.number = number;
      this.#mark(entry, "sent", `#${number}`);
      // The stream may have been faster than the answer.
      this.delivered(this.highestShown());
    } catch (error) {
      const words = `not sent: ${inWords(error)}`;
      if (isTemporary(error)) await this.#wait(entry, words, "failed");
      else this.#mark(entry, "refused", words);
    }
  }

  /** Until the browser is online again, somebody asks for it, or some time has passed. */
  async #wait(entry, words, state) {
    this.#mark(entry, state, words);
    let timer;
    await new Promise((resolve) => {
      this.wake = resolve;
      if (navigator.onLine) timer = setTimeout(resolve, RETRY_SECONDS * 1000);
    });
    clearTimeout(timer);
  }

  #mark(entry, state, words) {
    Object.assign(entry, { state, words });
    this.#changed();
  }

  #changed() {
    const sent = new Set(this.entries.filter(({ state }) => state === "sent").map(({ key }) => key));
    const isClosed = this.controller.signal.aborted;
    // The chat may have been opened again, and its new outbox may have stored more.
    const left = (isClosed ? this.#stored() : this.entries).filter(({ key }) => !sent.has(key));
    this.#store(left);
    if (!isClosed) this.#show();
  }

  /** Store as many, from the first, as there is room for: the others are sent, but don't survive a reload. */
  #store(entries) {
    if (entries.length === 0) return sessionStorage.removeItem(this.place);
    try {
      sessionStorage.setItem(this.place, JSON.stringify(entries));
    } catch (error) {
      if (error.name !== "QuotaExceededError") throw error;
      this.#store(entries.slice(0, -1));
    }
  }

  #stored() {
    return JSON.parse(sessionStorage.getItem(this.place) ?? "[]");
  }

  #show() {
    this.list.replaceChildren(...this.entries.map(pendingItem));
    this.list.hidden = this.entries.length === 0;
  }

  #clicked({ target }) {
    const action = target.dataset.action;
    if (action === "retry") this.wake();
    if (action !== "take-back") return;
    const [entry] = this.entries.splice([...this.list.children].indexOf(target.closest("li")), 1);
    this.#changed();
    this.onRefused(entry.body);
  }
}

/** Pages of other addresses than localhost have no `crypto.randomUUID` without TLS. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
