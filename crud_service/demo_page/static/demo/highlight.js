// Highlights of search results. They come as HTML: escaped text with <em> around what was found.
// It is taken apart here instead of being parsed by the browser, so a mistake of the service could
// garble a text but never run a script.
import { element } from "./dom.js";

const ENTITIES = { "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#x27;": "'", "&amp;": "&" };
const BEFORE_MATCH = 60;
const SHOWN = 240;

const unescaped = (text) => text.replace(/&(?:lt|gt|quot|#x27|amp);/g, (entity) => ENTITIES[entity]);

/** Nodes that show the surroundings of the first match. */
export function excerpt(highlight) {
  const parts = highlight.split(/<em>(.*?)<\/em>/su).map(unescaped);
  parts[0] = lastCharacters(parts[0], parts.length > 1 ? BEFORE_MATCH : Infinity);
  let left = SHOWN;
  return parts.flatMap((text, position) => {
    const shown = firstCharacters(text, left);
    left -= shown.length;
    if (shown === "") return [];
    return position % 2 === 1 ? element("mark", {}, shown) : shown;
  });
}

// A cut within an emoji leaves half of a surrogate pair, which is dropped.

function firstCharacters(text, count) {
  if (text.length <= count) return text;
  return count <= 0 ? "" : `${text.slice(0, count).replace(/[\uD800-\uDBFF]$/, "").trimEnd()}…`;
}

function lastCharacters(text, count) {
  return text.length <= count ? text : `…${text.slice(-count).replace(/^[\uDC00-\uDFFF]/, "").trimStart()}`;
}
