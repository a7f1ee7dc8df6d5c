// The open chat: its messages, live; writing, changing, deleting and searching them.
import { StreamReset } from "./client/index.js";
import { Composer } from "./composer.js";
import { byId } from "./dom.js";
import { titleOf } from "./inbox.js";
import { keepOpen } from "./live.js";
import { Outbox } from "./outbox.js";
import { Search } from "./search.js";
import { followPatiently, readPatiently, tell } from "./services.js";
import { Timeline } from "./timeline.js";
import { inWords } from "./words.js";

// Events within this time are shown together, so that a flood costs one layout each time.
const BATCH_MILLISECONDS = 30;
const ANNOUNCED_CHARACTERS = 200;
const COPIED = "Copied. Anyone with this link can read and write all chats of this application.";
const COPIED_MILLISECONDS = 8000;

export class ChatView {
  constructor({ me }) {
    this.me = me;
    this.timeline = new Timeline({ me, onError: (error) => tell(inWords(error)) });
    this.composer = new Composer({ onSend: (body) => this.#send(body) });
    this.search = new Search({ onChosen: (number) => this.timeline.show(number) });
    byId("messages").addEventListener("click", (event) => this.#clicked(event));
    byId("share").addEventListener("click", () => this.#share());
  }

  async open(chat, token) {
    this.close();
    this.chat = chat;
    byId("chat").dataset.state = "open";
    byId("scroller").setAttribute("aria-busy", "true");
    this.search.open(chat);
    const place = `${token}/${chat.number}`;
    this.composer.open(chat, place);
    this.outbox = new Outbox(chat, place, {
      highestShown: () => this.timeline.highest,
      onRefused: (body) => this.composer.takeBack(body),
    });
    await this.#read();
  }

  /** Read the newest messages, then follow from there. */
  async #read() {
    const { chat } = this;
    try {
      await readPatiently(() => this.timeline.open(chat), () => this.chat === chat);
      if (this.chat !== chat) return;
      byId("chat").dataset.state = "read";
      this.outbox.delivered(this.timeline.highest);
    } catch (error) {
      if (this.chat === chat) tell(inWords(error));
      return;
    } finally {
      if (this.chat === chat) byId("scroller").removeAttribute("aria-busy");
    }
    if (this.chat === chat) this.endStream = keepOpen((...connection) => this.#follow(chat, ...connection));
  }

  async #follow(chat, signal, onConnection) {
    const follow = async () => {
      const { lastEventId } = this.timeline;
      for await (const event of chat.follow({ lastEventId, signal, onConnection })) this.#take(event);
    };
    try {
      await followPatiently(follow, signal);
    } catch (error) {
      if (this.chat !== chat) return;
      if (!(error instanceof StreamReset)) return tell(inWords(error));
      // The service was restored to an older state.
      this.endStream();
      await this.#read();
    }
  }

  #take(event) {
    this.events ??= [];
    this.events.push(event);
    this.timer ??= setTimeout(() => this.flush(), BATCH_MILLISECONDS);
  }

  flush() {
    clearTimeout(this.timer);
    const events = this.events ?? [];
    this.timer = this.events = undefined;
    if (events.length === 0) return;
    this.timeline.take(events);
    this.outbox.delivered(this.timeline.highest);
    this.#announce(events);
  }

  /** Have screen readers read out what others write. */
  #announce(events) {
    const { message } = events.findLast(({ type }) => type === "message.created") ?? {};
    if (!message || message.sender === this.me()) return;
    const text = message.body.slice(0, ANNOUNCED_CHARACTERS);
    byId("announcer").textContent = `${message.sender ?? "Anonymous"}: ${text}`;
  }

  close() {
    clearTimeout(this.timer);
    this.timer = this.events = undefined;
    this.endStream?.();
    this.outbox?.close();
    this.endStream = this.outbox = this.chat = undefined;
    this.timeline.close();
    byId("scroller").removeAttribute("aria-busy");
    delete byId("chat").dataset.state;
  }

  /** Show what the inbox knows about the chat. */
  describe(known) {
    const { number } = this.chat;
    byId("chat-title").textContent = titleOf(known ?? { number });
    const count = known?.message_count ?? 0;
    byId("chat-subtitle").textContent = known ? `${count.toLocaleString()} message${count === 1 ? "" : "s"}` : "";
  }

  #send(body) {
    this.outbox.add(body, this.me());
    this.timeline.showNewest();
  }

  async #clicked({ target }) {
    const number = Number(target.closest("li")?.dataset.number);
    try {
      if (target.dataset.action === "edit") await this.composer.edit(number);
      if (target.dataset.action === "delete") await this.#delete(number);
    } catch (error) {
      tell(inWords(error));
    }
  }

  async #delete(number) {
    const { chat } = this;
    if (await confirmed(this.timeline.message(number).body)) await chat.deleteMessage(number);
  }

  async #share() {
    try {
      await navigator.clipboard.writeText(location.href);
      tell(COPIED);
      clearTimeout(this.copiedTimer);
      // Unless something else is told by then.
      this.copiedTimer = setTimeout(() => byId("banner").textContent === COPIED && tell(""), COPIED_MILLISECONDS);
    } catch {
      tell("Copy the address of this page: anyone with it can read and write all chats of it.");
    }
  }
}

function confirmed(body) {
  const dialog = byId("confirm");
  byId("confirm-text").textContent = body;
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "delete"), { once: true });
  });
}
