// Shows what the address says (address.js): the first page, an application's chats, one of them.
import { addressOf, isMangled, readAddress } from "./address.js";
import { ChatView } from "./chat-view.js";
import { byId } from "./dom.js";
import { Inbox, titleOf } from "./inbox.js";
import { keepOpen } from "./live.js";
import { followPatiently, readPatiently, tell } from "./services.js";
import { Start } from "./start.js";
import { inWords } from "./words.js";

const sender = byId("sender");
const me = () => sender.value.trim() || "Guest";

const start = new Start();
const chatView = new ChatView({ me });
const inbox = new Inbox({ onError: (error) => tell(inWords(error)), onChats: describe });
// Undefined until the first page is shown; null there.
let application;
let endStream = () => {};

async function show() {
  const { token, chatNumber } = readAddress();
  tell(isMangled() ? "This link is not complete. Copy it again, as a whole." : "");
  document.body.dataset.view = token === null ? "start" : chatNumber === null ? "inbox" : "chat";
  byId("start").hidden = token !== null;
  byId("workspace").hidden = token === null;
  if (application === undefined || token !== (application?.accessToken ?? null)) await openApplication(token);
  // Another chat may have been chosen meanwhile.
  if (token === readAddress().token) await openChat(readAddress().chatNumber);
}

async function openApplication(token) {
  endStream();
  chatView.close();
  application = token === null ? null : start.client.application(token);
  byId("application-title").textContent = "";
  document.title = "Chat";
  if (application === null) return start.open();
  const opened = application;
  inbox.open(application);
  byId("back").href = addressOf(token);
  try {
    const found = await readPatiently(() => opened.read(), () => application === opened);
    if (application !== opened) return;
    byId("application-title").textContent = found.name;
    endStream = keepOpen((signal, onConnection) => {
      return followPatiently(() => inbox.follow(signal, onConnection), signal).catch(failed);
    });
  } catch (error) {
    if (application === opened) failed(error);
  }
}

function failed(error) {
  tell(inWords(error));
}

async function openChat(number) {
  if (application === null || number === (chatView.chat?.number ?? null)) return;
  inbox.choose(number);
  chatView.close();
  if (number === null) return;
  const opened = chatView.open(application.chat(number), application.accessToken);
  describe();
  // On a phone the keyboard would cover half of the chat.
  if (matchMedia("(pointer: fine)").matches) chatView.composer.focus();
  await opened;
}

/** Show the names of what is open. */
function describe() {
  if (!chatView.chat) return;
  const known = inbox.find(chatView.chat.number);
  chatView.describe(known);
  document.title = `${titleOf(known ?? chatView.chat)} · ${byId("application-title").textContent}`;
}

byId("new-chat").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = byId("chat-name");
  try {
    const name = field.value.trim();
    const { number } = await application.createChat(name === "" ? {} : { name });
    field.value = "";
    location.hash = addressOf(application.accessToken, number);
  } catch (error) {
    failed(error);
  }
});

// Each window has a name of its own, so that two of them can talk.
sender.value = sessionStorage.getItem("sender") ?? `Guest ${Math.floor(Math.random() * 900) + 100}`;
sender.addEventListener("change", () => {
  sender.value = me();
  sessionStorage.setItem("sender", sender.value);
  chatView.timeline.refresh();
});
sessionStorage.setItem("sender", sender.value);

addEventListener("hashchange", show);
show();
