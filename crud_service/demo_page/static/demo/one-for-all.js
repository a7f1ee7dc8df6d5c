// One stream of an application for all windows of this browser, which has six connections to an
// origin over HTTP/1.1: with two streams each, three windows would leave none for anything else.
// (So there is room for four windows that are seen at the same time.)
//
// The window that has the lock leads: it follows, and passes events on. When it is closed or hidden,
// the lock goes to another one, whose stream begins with `ready`, so nothing is missed between.

/** Call `heard` with the type of each event, and `onConnection` as for a stream of one's own. */
export async function followTogether(application, { signal, onConnection, heard }) {
  const channel = new BroadcastChannel(`follow/${application.accessToken}`);
  const take = ({ type, isConnected }) => {
    if (type !== undefined) heard(type);
    if (isConnected !== undefined) onConnection(isConnected);
  };
  channel.addEventListener("message", ({ data }) => take(data));
  // The leader answers as if its stream had just begun.
  channel.postMessage({ isNew: true });
  const lead = () => pass(application, signal, channel, take);
  try {
    // Pages of other addresses than localhost have no locks without TLS.
    if (!navigator.locks) await lead();
    else await navigator.locks.request(`follow/${application.accessToken}`, { signal }, lead);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    channel.close();
  }
}

async function pass(application, signal, channel, take) {
  let isConnected = false;
  const tell = (what) => {
    take(what);
    channel.postMessage(what);
  };
  channel.addEventListener("message", ({ data }) => {
    if (data.isNew && isConnected) channel.postMessage({ type: "ready", isConnected });
  });
  const onConnection = (state) => tell({ isConnected: (isConnected = state) });
  for await (const { type } of application.follow({ signal, onConnection })) tell({ type });
}
