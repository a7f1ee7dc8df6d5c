/** The calls that several methods make alike. */

import { Pages } from "./lists.js";
import type { Call, Session } from "./session.js";

export interface PageSize {
  /** How many items one request reads. */
  pageSize?: number;
}

/**
 * Return a token or a number as a segment of a path; throw TypeError for anything else.
 *
 * `..` in its place would name what is above: to delete a chat would delete its application.
 */
export function segment(what: string, identifier: string | number): string {
  const text = String(identifier ?? "");
  if (!/^[A-Za-z0-9]+$/.test(text)) throw new TypeError(`${what} has to consist of letters and digits`);
  return text;
}

/** Return the call that creates something: the key is the same in every attempt. */
export function creation(url: string, json: object | undefined, key: string = newKey()): Call {
  return { method: "POST", url, json, headers: { "Idempotency-Key": key } };
}

/** Pages that are not served over TLS, and Node.js 18, have no `crypto.randomUUID`. */
function newKey(): string {
  const random = () => Math.random().toString(36).slice(2);
  return globalThis.crypto?.randomUUID?.() ?? `${random()}-${random()}-${random()}`;
}

export function listing<T>(
  session: Session,
  url: string,
  { pageSize, ...query }: object & PageSize,
  headers: Record<string, string> = {},
): Pages<T> {
  const all = { ...query, limit: pageSize ?? 100 };
  return new Pages(session, { method: "GET", url, query: all, headers, untilStored: true });
}
