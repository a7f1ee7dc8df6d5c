// Elements, made of names and text. Nothing here or elsewhere parses markup: what users wrote is
// only ever the text of a node, and the page's Content-Security-Policy forbids anything else.

export const byId = (id) => document.getElementById(id);

/** Make an element. `true` sets an empty attribute, false and undefined none; strings become text. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== false && value !== undefined) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Move the focus through a list with the arrow keys, Home and End; `items` returns its items. */
export function arrowKeys(list, items) {
  list.addEventListener("keydown", (event) => {
    const all = items();
    const at = all.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || all[next] === undefined) return;
    event.preventDefault();
    all[next].focus();
  });
}

/** The name of a sender. It has a direction of its own: what follows stays behind it. */
export const senderName = ({ sender }) => element("b", { dir: "auto" }, sender ?? "Anonymous");

const TODAY = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const EARLIER = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** The time of a message: the hour today, else the day. */
export function timeOf(text, { withHour = false } = {}) {
  const time = new Date(text);
  const isToday = time.toDateString() === new Date().toDateString();
  const hour = TODAY.format(time);
  const shown = isToday ? hour : EARLIER.format(time) + (withHour ? `, ${hour}` : "");
  return element("time", { datetime: text, title: FULL.format(time) }, shown);
}
