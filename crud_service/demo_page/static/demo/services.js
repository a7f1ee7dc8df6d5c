// The client package, as this page uses it: `client/` is clients/typescript compiled, unchanged
// (a test compares them), so that there is nothing to build and the page shows what the package is
// like to use. It repeats failed requests by itself; what it waits for is shown in the meantime.
import { Client } from "./client/index.js";
import { byId } from "./dom.js";
import { inWords, isTemporary, waitInWords } from "./words.js";

// crud_service serves this page; numbering_service is another origin, and allows this one.
const CRUD_URL = location.origin;
const NUMBERING_URL = document.documentElement.dataset.numberingUrl;
const RETRY_SECONDS = 10;

export function connect(adminToken) {
  const urls = { crudUrl: CRUD_URL, numberingUrl: NUMBERING_URL };
  return new Client({ ...urls, ...(adminToken && { adminToken }), fetch: fetchAndTell });
}

// Which service the banner is about; only an answer of the same service takes it away.
let toldAbout = null;

async function fetchAndTell(request, options) {
  const response = await fetch(request, options);
  const { origin } = new URL(request.url);
  const words = await waitInWords(response);
  if (words !== null) tell(words, origin);
  else if (toldAbout === origin) tell("");
  return response;
}

/** Show a sentence above everything, until there is another one; none hides it. */
export function tell(words, about = null) {
  toldAbout = about;
  const banner = byId("banner");
  banner.textContent = words;
  banner.hidden = words === "";
}

/** Read until crud_service can be reached; `isWanted` returns whether there is still a reason to. */
export async function readPatiently(read, isWanted) {
  for (;;) {
    try {
      return await read();
    } catch (error) {
      if (!isTemporary(error)) throw error;
      if (isWanted()) tell(inWords(error), CRUD_URL);
    }
    await networkOrPause();
    if (!isWanted()) return undefined;
  }
}

/** Follow until the signal; the client gives up where a network answers with its sign-in page. */
export function followPatiently(follow, signal) {
  return readPatiently(follow, () => !signal.aborted);
}

/** Until the browser is online again, or some time has passed. */
function networkOrPause() {
  return new Promise((resolve) => {
    const timer = setTimeout(end, RETRY_SECONDS * 1000);
    function end() {
      clearTimeout(timer);
      removeEventListener("online", end);
      resolve();
    }
    addEventListener("online", end);
  });
}
