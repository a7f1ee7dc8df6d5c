/** Which requests are repeated, when, and for how long: decisions without I/O. */

import { type ChatBackendError, NoAnswer, Problem } from "./errors.js";

// Refused before anything was done, so any request may be repeated.
const REFUSED = new Set(["overloaded", "rate_limited", "request_timeout", "too_many_streams"]);
const TEMPORARY = new Set([408, 429, 502, 503, 504]);
// Node.js says that no connection was made; a browser does not.
const NOTHING_SENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT"]);

/**
 * How long failed requests are repeated; `seconds: 0` switches it off.
 *
 * No attempt begins more than `seconds` (30) after the first one. Pauses are what `Retry-After`
 * says, else they double from `firstPause` (0.1) to `longestPause` (5); both with jitter.
 */
export interface RetryOptions {
  seconds?: number;
  firstPause?: number;
  longestPause?: number;
}

export class Retries {
  readonly seconds: number;
  private readonly firstPause: number;
  private readonly longestPause: number;

  constructor({ seconds = 30, firstPause = 0.1, longestPause = 5 }: RetryOptions = {}) {
    [this.seconds, this.firstPause, this.longestPause] = [seconds, firstPause, longestPause];
  }

  /** The seconds to wait after a number of attempts that failed. */
  pause(attempts: number, error: ChatBackendError): number {
    if (error instanceof Problem && error.retryAfter !== null) {
      return Math.max(error.retryAfter, this.firstPause) * (1 + Math.random() / 4);
    }
    const longest = Math.min(this.longestPause, this.firstPause * 2 ** attempts);
    return (longest * (1 + Math.random())) / 2;
  }
}

/**
 * Whether a failed request may be repeated, and may succeed then.
 *
 * `repeatable`: doing it twice does no more than doing it once. `untilStored`: what was
 * numbered but is not stored yet is worth waiting for.
 */
export function maySucceed(
  error: ChatBackendError,
  { repeatable = true, untilStored = false }: { repeatable?: boolean; untilStored?: boolean },
): boolean {
  if (error instanceof NoAnswer) return repeatable || nothingWasSent(error);
  if (!(error instanceof Problem)) return false;
  if (error.code === "not_stored_yet") return untilStored;
  return REFUSED.has(error.code) || (repeatable && TEMPORARY.has(error.status));
}

function nothingWasSent({ cause }: NoAnswer): boolean {
  const origin = cause instanceof Error ? (cause.cause as { code?: string } | undefined) : undefined;
  return NOTHING_SENT.has(origin?.code ?? "");
}
