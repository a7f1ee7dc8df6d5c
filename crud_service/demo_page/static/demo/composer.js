// The field at the bottom: new messages, and changes of earlier ones.
import { Problem } from "./client/index.js";
import { byId } from "./dom.js";
import { tell } from "./services.js";
import { inWords } from "./words.js";

const LARGEST_NUMBER_OF_DRAFTS = 100;

export class Composer {
  edited = null;
  draft = "";
  // What was written in other chats and is not sent yet, by their place; the latest last.
  drafts = new Map();

  constructor({ onSend }) {
    this.onSend = onSend;
    this.form = byId("composer");
    this.field = byId("body");
    this.form.addEventListener("submit", (event) => this.#submitted(event));
    this.form.addEventListener("keydown", (event) => this.#key(event));
    byId("stop-editing").addEventListener("click", () => this.stopEditing());
  }

  /** Write in a chat from now on; `place` is the same whenever it is opened. */
  open(chat, place) {
    this.stopEditing();
    this.#keepDraft();
    Object.assign(this, { chat, place });
    this.field.value = this.drafts.get(place) ?? "";
  }

  #keepDraft() {
    this.drafts.delete(this.place);
    if (this.field.value.trim() !== "") this.drafts.set(this.place, this.field.value);
    if (this.drafts.size > LARGEST_NUMBER_OF_DRAFTS) this.drafts.delete(this.drafts.keys().next().value);
  }

  focus() {
    this.field.focus();
  }

  /** Put back the text of a message that could not be sent, above what was written since. */
  takeBack(body) {
    this.stopEditing();
    const draft = this.field.value;
    this.field.value = draft === "" ? body : `${body}\n${draft}`;
    this.focus();
  }

  #key(event) {
    // Enter also ends the composition of a character, in many scripts.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target === this.field) {
      event.preventDefault();
      this.form.requestSubmit();
    } else if (event.key === "Escape" && this.edited !== null) {
      event.preventDefault();
      this.stopEditing();
    }
  }

  async #submitted(event) {
    event.preventDefault();
    const body = this.field.value;
    if (body.trim() === "") return;
    if (this.edited !== null) return this.#save(body);
    this.field.value = "";
    this.onSend(body);
  }

  /** Read a message as it is now: its entity tag makes sure that nobody's change is overwritten. */
  async edit(number, words = `Editing message ${number}`) {
    const { chat } = this;
    const { value, etag } = await chat.messageVersioned(number);
    if (this.chat !== chat) return;
    if (value.deleted_at) return tell("This message was deleted.");
    if (this.edited === null) this.draft = this.field.value;
    this.edited = { number, etag };
    this.field.value = value.body;
    this.#show(words);
    this.focus();
  }

  async #save(body) {
    // Enter, pressed again while an answer is on its way, would meet its own change.
    if (this.field.readOnly) return;
    const { edited, chat } = this;
    const { number, etag } = edited;
    // What is written by the time of the answer would be lost with it.
    this.field.readOnly = true;
    try {
      await chat.updateMessage(number, { body, ifMatch: etag });
      if (this.edited === edited) this.stopEditing();
    } catch (error) {
      if (this.edited !== edited) return tell(inWords(error));
      this.field.readOnly = false;
      if (error instanceof Problem && error.code === "precondition_failed") return this.#overtaken();
      if (error instanceof Problem && error.code === "message_deleted") this.stopEditing();
      tell(inWords(error));
    }
  }

  /** Somebody was faster. The person decides: what they wrote stays, saving again replaces the other. */
  async #overtaken() {
    const { edited } = this;
    const { number } = edited;
    let current;
    try {
      current = await this.chat.messageVersioned(number);
    } catch (error) {
      // Saving again meets the other change again, and reads it.
      return tell(`Message ${number} was changed in the meantime. ${inWords(error)}`);
    }
    // The change may have been given up meanwhile, also for another chat.
    if (this.edited !== edited) return;
    const { value, etag } = current;
    if (value.deleted_at) {
      this.stopEditing();
      return tell("This message was deleted in the meantime.");
    }
    this.edited = { number, etag };
    this.#show(`Message ${number} was changed in the meantime, to “${value.body}”. Save again to replace it.`);
  }

  stopEditing() {
    if (this.edited !== null) this.field.value = this.draft;
    this.edited = null;
    this.draft = "";
    this.#show("");
  }

  #show(words) {
    this.field.readOnly = false;
    byId("editing").hidden = words === "";
    byId("editing-what").textContent = words;
    byId("send").textContent = words === "" ? "Send" : "Save";
  }
}
