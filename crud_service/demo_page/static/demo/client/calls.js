/** The calls that several methods make alike. */
import { Pages } from "./lists.js";
/** Return the call that creates something: the key is the same in every attempt. */
export function creation(url, json, key = newKey()) {
    return { method: "POST", url, json, headers: { "Idempotency-Key": key } };
}
/** Pages that are not served over TLS, and Node.js 18, have no `crypto.randomUUID`. */
function newKey() {
    const random = () => Math.random().toString(36).slice(2);
    return globalThis.crypto?.randomUUID?.() ?? `${random()}-${random()}-${random()}`;
}
export function listing(session, url, { pageSize, ...query }, headers = {}) {
    const all = { ...query, limit: pageSize ?? 100 };
    return new Pages(session, { method: "GET", url, query: all, headers, untilStored: true });
}
