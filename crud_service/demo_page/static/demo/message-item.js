// A message as an item of the list.
import { element, senderName, timeOf } from "./dom.js";

/** `me` is the name of the person at this window, whose messages can be changed. */
export function messageItem(message, me) {
  const isMine = message.sender !== undefined && message.sender === me;
  const item = element("li", { class: isMine ? "message mine" : "message", tabindex: "-1" });
  item.dataset.number = message.number;
  item.append(heading(message), body(message));
  if (isMine && !message.deleted_at) item.append(actions(message.number));
  return item;
}

function heading(message) {
  const isEdited = !message.deleted_at && message.updated_at !== message.created_at;
  return element(
    "p",
    { class: "meta" },
    // A deleted message has lost its sender, too.
    ...(message.deleted_at ? [] : [senderName(message), " "]),
    `#${message.number} `,
    timeOf(message.created_at, { withHour: true }),
    ...(isEdited ? [" ", element("span", { class: "edited" }, "edited")] : []),
  );
}

function body(message) {
  if (message.deleted_at) return element("p", { class: "body deleted" }, "This message was deleted.");
  return element("p", { class: "body", dir: "auto" }, message.body);
}

function actions(number) {
  const button = (name, action) =>
    element("button", { type: "button", "data-action": action, "aria-label": `${name} message ${number}` }, name);
  return element("p", { class: "actions" }, button("Edit", "edit"), button("Delete", "delete"));
}

/** A message that has no number yet. */
export function pendingItem({ body: text, sender, state, words }) {
  const item = element("li", { class: `message mine ${state}` });
  const meta = element("p", { class: "meta" }, senderName({ sender }), " ", words);
  item.append(meta, element("p", { class: "body", dir: "auto" }, text));
  if (state === "failed") item.append(element("button", { type: "button", "data-action": "retry" }, "Try again now"));
  if (state === "refused") item.append(element("button", { type: "button", "data-action": "take-back" }, "Change it"));
  return item;
}
