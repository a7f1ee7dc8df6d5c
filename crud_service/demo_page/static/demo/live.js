// Streams that are open while the page is visible and online, and the state of the connection.
//
// A browser has few connections to an origin (one-for-all.js): a page that nobody sees gives its own
// back, and goes on behind the last event when it is seen again.

const HIDDEN_SECONDS = 20;
const WORDS = { connected: "Connected", reconnecting: "Reconnecting…", ended: "Disconnected", offline: "Offline", none: "" };

const open = new Set();
let hideTimer;

/** Keep `follow(signal, onConnection)` running, whatever happens; returns a function that ends it. */
export function keepOpen(follow) {
  const stream = { follow, controller: null, isConnected: false, hasEnded: false };
  open.add(stream);
  start(stream);
  show();
  return () => {
    open.delete(stream);
    stop(stream);
    show();
  };
}

function start(stream) {
  if (stream.controller !== null || !navigator.onLine || document.hidden) return;
  const controller = new AbortController();
  stream.controller = controller;
  const onConnection = (isConnected) => {
    if (stream.controller !== controller) return;
    stream.isConnected = isConnected;
    show();
  };
  // What a stream cannot recover from, its owner has told, and there is nothing to repeat.
  stream.follow(controller.signal, onConnection).finally(() => {
    if (stream.controller === controller) stream.hasEnded = true;
    onConnection(false);
  });
}

function stop(stream) {
  stream.controller?.abort();
  Object.assign(stream, { controller: null, isConnected: false, hasEnded: false });
}

function connectionState() {
  if (!navigator.onLine) return "offline";
  if (open.size === 0) return "none";
  if ([...open].some((stream) => stream.hasEnded)) return "ended";
  const areConnected = [...open].every((stream) => stream.isConnected);
  return areConnected ? "connected" : "reconnecting";
}

/** A phone shows one of two places that tell the state. */
function show() {
  const state = connectionState();
  for (const place of document.querySelectorAll(".connection")) {
    if (place.dataset.state === state) continue;
    place.dataset.state = state;
    place.textContent = WORDS[state];
  }
}

function startAll() {
  clearTimeout(hideTimer);
  open.forEach(start);
  show();
}

function stopAll() {
  open.forEach(stop);
  show();
}

addEventListener("online", startAll);
addEventListener("offline", stopAll);
// A page that is kept for the back button has lost its connections.
addEventListener("pagehide", stopAll);
addEventListener("pageshow", startAll);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) hideTimer = setTimeout(stopAll, HIDDEN_SECONDS * 1000);
  else startAll();
});
