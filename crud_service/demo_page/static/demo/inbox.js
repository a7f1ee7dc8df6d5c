// The chats of an application, the one written to last first, kept up to date by its stream.
import { addressOf } from "./address.js";
import { arrowKeys, byId, element, timeOf } from "./dom.js";
import { followTogether } from "./one-for-all.js";

const PAGE = 50;
// The most that one request reads.
const LARGEST_PAGE = 1000;
// Changes within this time cost one request.
const PAUSE_MILLISECONDS = 200;

export class Inbox {
  // How many messages of each chat were seen; the others are unread.
  seen = new Map();
  chats = [];
  wanted = PAGE;
  openChat = null;

  constructor({ onError, onChats }) {
    Object.assign(this, { onError, onChats });
    this.list = byId("chats");
    arrowKeys(this.list, () => [...this.list.querySelectorAll("a")]);
    byId("more-chats").addEventListener("click", () => this.#more());
  }

  open(application) {
    Object.assign(this, { application, chats: [], wanted: PAGE, listedSince: undefined });
    this.seen.clear();
    this.#show();
  }

  /** Follow the application: what happened before `ready` is not announced, hence the list then. */
  follow(signal, onConnection) {
    const heard = (type) => (type === "ready" ? this.refresh() : this.#refreshSoon());
    return followTogether(this.application, { signal, onConnection, heard });
  }

  #refreshSoon() {
    this.timer ??= setTimeout(() => this.refresh(), PAUSE_MILLISECONDS);
  }

  /** Read the first chats again. */
  async refresh() {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { application } = this;
    try {
      const { items, total } = await firstChats(application, this.wanted);
      if (application === this.application) this.#take(items, total);
    } catch (error) {
      if (application === this.application) this.onError(error);
    }
  }

  #take(items, total) {
    this.hasMore = items.length < total;
    this.chats = items.filter((chat) => !chat.deleted_at);
    for (const chat of this.chats) {
      if (chat.number === this.openChat) this.seen.set(chat.number, chat.message_count);
      else if (!this.seen.has(chat.number)) this.seen.set(chat.number, this.#seenBefore(chat));
    }
    // Every chat that is written to later is listed before the last of these.
    this.listedSince = this.hasMore ? (items.at(-1).last_message?.created_at ?? "") : "";
    this.#show();
    this.onChats();
  }

  /** Return how many messages of a chat count as seen that the last list did not have. */
  #seenBefore({ message_count: count, created_at: created, last_message: last }) {
    const isWrittenTo = last && this.listedSince !== undefined && last.created_at > this.listedSince;
    // It was found by asking for more, or moved up because another one was deleted.
    if (!isWrittenTo) return count;
    // How many messages an older chat had then is not known: at least the last one is new.
    return created > this.listedSince ? 0 : Math.max(0, count - 1);
  }

  #more() {
    this.wanted += PAGE;
    this.refresh();
  }

  /** Mark a chat as the open one; it has been read. */
  choose(number) {
    this.openChat = number;
    const chat = this.find(number);
    if (chat) this.seen.set(number, chat.message_count);
    this.#show();
  }

  find(number) {
    return this.chats.find((chat) => chat.number === number);
  }

  #show() {
    const focused = document.activeElement?.closest("#chats a")?.getAttribute("href");
    this.list.replaceChildren(...this.chats.map((chat) => this.#item(chat)));
    if (focused) this.list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    byId("more-chats").hidden = !this.hasMore;
  }

  #item(chat) {
    const { number, last_message: last } = chat;
    const unread = chat.message_count - (this.seen.get(number) ?? 0);
    const link = element(
      "a",
      { href: addressOf(this.application.accessToken, number), "aria-current": number === this.openChat && "true" },
      element("b", { dir: "auto" }, titleOf(chat)),
      last ? timeOf(last.created_at) : "",
      element("span", { class: "last", dir: "auto" }, ...summary(last)),
    );
    if (unread > 0) link.append(unreadBadge(unread));
    return element("li", {}, link);
  }
}

/** A number, which screen readers read out as what it means: text alone takes no other name. */
const unreadBadge = (count) => element("span", { class: "unread", role: "img", "aria-label": `${count} unread` }, String(count));

/** Read the first `wanted` chats. One that is written to between two requests is announced. */
async function firstChats(application, wanted) {
  const query = { sort: "-last_message", include: "last_message", pageSize: Math.min(wanted, LARGEST_PAGE) };
  const items = [];
  let total = 0;
  for await (const page of application.chats(query).pages()) {
    items.push(...page.items);
    ({ total } = page);
    if (items.length >= wanted) break;
  }
  return { items: items.slice(0, wanted), total };
}

export const titleOf = ({ name, number }) => name ?? `Chat ${number}`;

function summary(last) {
  if (!last) return ["No messages yet"];
  const text = last.deleted_at ? "deleted" : last.body.slice(0, 120);
  return last.sender ? [element("bdi", {}, last.sender), `: ${text}`] : [text];
}
