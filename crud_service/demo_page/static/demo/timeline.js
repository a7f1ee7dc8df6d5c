// The messages of a chat: a window over a list of any length. At most MOST of them are in memory
// and in the document; scrolling towards an end of the window loads a page there, and drops what
// is furthest from it. A page costs the service the same anywhere in a chat, and the browser too.
import { byId } from "./dom.js";
import { messageItem } from "./message-item.js";

const PAGE = 50;
const MOST = 200;
// How far from an end of the window, in pixels, the next page is loaded.
const AHEAD = 800;
const NEAR_END = 80;

export class Timeline {
  items = new Map();
  highest = 0;
  hasOlder = false;
  lastEventId = null;
  // Of a page that is being read: what happened to messages meanwhile, which it may not show.
  meanwhile = null;
  // Whether the newest message is in sight, and shall stay there.
  isSticky = true;

  constructor({ me, onError }) {
    Object.assign(this, { me, onError });
    this.scroller = byId("scroller");
    this.list = byId("messages");
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.list.addEventListener("keydown", (event) => this.#moveFocus(event));
    this.list.addEventListener("focusin", ({ target }) => this.#setCurrent(target.closest("li")));
    // What grows below, such as the field for a message of many lines, must not hide the newest one.
    const observer = new ResizeObserver(() => this.isSticky && this.#toEnd());
    [this.scroller, byId("pending")].forEach((below) => observer.observe(below));
    byId("newest").addEventListener("click", () => this.showNewest());
  }

  get #first() {
    return Number(this.list.firstChild?.dataset.number ?? 0);
  }

  get #last() {
    return Number(this.list.lastChild?.dataset.number ?? 0);
  }

  get hasNewer() {
    return this.items.size > 0 && this.#last < this.highest;
  }

  get isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return !this.hasNewer && scrollHeight - scrollTop - clientHeight < NEAR_END;
  }

  /** Show the newest messages of a chat, and be ready to follow it from there. */
  async open(chat) {
    this.close();
    this.chat = chat;
    const { items, lastChange } = await this.#page({ order: "desc" });
    if (this.chat !== chat) return;
    this.#fill(items.reverse());
    this.highest = this.#last;
    this.lastEventId = `${this.highest}.${lastChange}`;
    this.#toEnd();
  }

  close() {
    // A page of another chat that is being read is no longer wanted, nor what happened meanwhile.
    this.chat = this.meanwhile = null;
    this.highest = 0;
    this.#empty();
  }

  async #page(query) {
    const { value } = await this.chat.messages({ ...query, pageSize: PAGE }).pages().next();
    return value;
  }

  #empty() {
    this.items.clear();
    this.list.replaceChildren();
    this.hasOlder = false;
    this.#changed();
  }

  #fill(messages) {
    this.#empty();
    for (const message of messages) this.#append(message);
    this.hasOlder = messages.length >= PAGE && this.#first > 1;
    this.#changed();
  }

  #append(message) {
    const item = this.#item(message);
    this.items.set(message.number, item);
    this.list.append(item);
  }

  #item(message) {
    const latest = this.meanwhile?.get(message.number) ?? message;
    const item = messageItem(latest, this.me());
    item.message = latest;
    return item;
  }

  message(number) {
    return this.items.get(number)?.message;
  }

  /** Show all messages again, after the name of the person at this window has changed. */
  refresh() {
    for (const { message } of [...this.items.values()]) this.#replace(message);
  }

  /** Take events of the stream. */
  take(events) {
    const wasAtEnd = this.isAtEnd;
    this.#keepingPlace(() => events.forEach((event) => this.#takeOne(event, wasAtEnd)));
    if (wasAtEnd) this.#toEnd();
    this.#changed();
  }

  #takeOne({ type, id, message }, isAtEnd) {
    this.lastEventId = id;
    this.meanwhile?.set(message.number, message);
    if (this.items.has(message.number)) return this.#replace(message);
    if (message.number > this.#first && message.number < this.#last) return this.#insert(message);
    if (type !== "message.created" || message.number <= this.highest) return;
    const hadNewer = this.hasNewer;
    this.highest = message.number;
    // Somebody reads further up: the window stays where it is once it is full.
    if (hadNewer || (!isAtEnd && this.items.size >= MOST)) return;
    this.#append(message);
    this.#drop("oldest");
  }

  /** Show a message that could not be stored at first, and is put back. */
  #insert(message) {
    const item = this.#item(message);
    this.items.set(message.number, item);
    const isBehind = (other) => Number(other.dataset.number) > message.number;
    [...this.list.children].find(isBehind).before(item);
    this.#drop("oldest");
  }

  #replace(message) {
    const before = this.items.get(message.number);
    const after = this.#item(message);
    const hasFocus = before.contains(document.activeElement);
    this.items.set(message.number, after);
    before.replaceWith(after);
    if (this.current === before) this.#setCurrent(after);
    if (hasFocus) after.focus({ preventScroll: true });
  }

  #drop(which) {
    while (this.items.size > MOST) {
      const number = which === "oldest" ? this.#first : this.#last;
      const item = this.items.get(number);
      const hadFocus = item.contains(document.activeElement);
      this.items.delete(number);
      item.remove();
      if (which === "oldest") this.hasOlder = true;
      if (hadFocus) this.list[which === "oldest" ? "firstChild" : "lastChild"].focus({ preventScroll: true });
    }
  }

  /** Change the list without moving what is read: the first visible message stays in its place. */
  #keepingPlace(change) {
    const top = this.scroller.getBoundingClientRect().top;
    const place = (item) => item.getBoundingClientRect();
    const visible = [...this.list.children].filter((item) => place(item).bottom > top).slice(0, MOST / 4);
    const before = visible.map((item) => place(item).top);
    change();
    const kept = visible.findIndex((item) => item.isConnected);
    if (kept >= 0) this.scroller.scrollTop += place(visible[kept]).top - before[kept];
  }

  #toEnd() {
    this.isSticky = !this.hasNewer;
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #changed() {
    byId("newest").hidden = !this.hasNewer;
    byId("older").hidden = !this.hasOlder;
    if (!this.current?.isConnected) this.#setCurrent(this.list.lastChild);
  }

  #scrolled() {
    this.isSticky = this.isAtEnd;
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    if (this.hasOlder && scrollTop < AHEAD) this.#load("older");
    else if (this.hasNewer && scrollHeight - scrollTop - clientHeight < AHEAD) this.#load("newer");
  }

  /** Load one page at an end of the window; a second one waits until the first is there. */
  async #load(which) {
    if (this.meanwhile !== null) return;
    const query =
      which === "older" ? { order: "desc", before: this.#first } : { after: this.#last };
    const isShown = await this.#read(query, (items) => {
      this.#keepingPlace(() => (which === "older" ? this.#prepend(items) : this.#extend(items)));
      this.#changed();
    });
    if (isShown) this.#scrolled();
  }

  /**
   * Read a page, and show it with what the stream has said meanwhile; returns whether it is shown.
   *
   * A page that was asked for later takes its place: this one would no longer fit the window.
   */
  async #read(query, show) {
    const meanwhile = new Map();
    this.meanwhile = meanwhile;
    try {
      const { items } = await this.#page(query);
      if (this.meanwhile !== meanwhile) return false;
      show(items);
      return true;
    } catch (error) {
      if (this.meanwhile === meanwhile) this.onError(error);
      return false;
    } finally {
      if (this.meanwhile === meanwhile) this.meanwhile = null;
    }
  }

  #prepend(newestFirst) {
    const made = newestFirst.reverse().map((message) => [message.number, this.#item(message)]);
    this.list.prepend(...made.map(([, item]) => item));
    this.items = new Map([...made, ...this.items]);
    this.hasOlder = made.length >= PAGE && this.#first > 1;
    this.#drop("newest");
  }

  #extend(messages) {
    const last = this.#last;
    for (const message of messages) if (message.number > last) this.#append(message);
    if (messages.length === 0) this.highest = last;
    this.#drop("oldest");
  }

  /** Show a message with those around it, and put the focus on it. */
  async show(number) {
    if (!this.items.has(number)) await this.#jump({ after: Math.max(0, number - PAGE / 2) }, number);
    const item = this.items.get(number);
    if (item === undefined) return;
    item.scrollIntoView({ block: "center" });
    item.focus({ preventScroll: true });
    item.classList.add("found");
    setTimeout(() => item.classList.remove("found"), 2000);
  }

  async showNewest() {
    if (this.hasNewer) await this.#jump({ order: "desc" });
    this.#toEnd();
  }

  async #jump(query) {
    await this.#read(query, (items) => {
      if (items.length === 0) return;
      this.#fill(query.order === "desc" ? items.reverse() : items);
      this.hasOlder = this.#first > 1;
      this.#changed();
    });
  }

  /** One message can be reached with Tab, the one that had the focus last; arrows reach the others. */
  #setCurrent(item) {
    if (item === null || item === this.current) return;
    this.current?.setAttribute("tabindex", "-1");
    this.current = item;
    item.setAttribute("tabindex", "0");
  }

  async #moveFocus(event) {
    const item = event.target.closest("li");
    const next = { ArrowUp: item?.previousSibling, ArrowDown: item?.nextSibling }[event.key];
    if (next) next.focus();
    else if (event.key === "Home") await this.show(1);
    else if (event.key === "End") await this.showNewest().then(() => this.list.lastChild.focus());
    else return;
    event.preventDefault();
  }
}
