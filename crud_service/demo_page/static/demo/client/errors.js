/** Base of all errors of this package; `attempts` is how often the request was sent. */
export class ChatBackendError extends Error {
    attempts = 1;
}
/**
 * An error response: a problem document (RFC 9457), or what a proxy sent instead of one.
 *
 * `code` is stable and documented; `unknown` if the response was no problem document.
 */
export class Problem extends ChatBackendError {
    status;
    name = "Problem";
    code;
    detail;
    title;
    errors;
    requestId;
    /** Seconds, from `Retry-After`. */
    retryAfter;
    constructor(status, document, headers = new Headers()) {
        const { code = "unknown", detail = "", title = "" } = document;
        super(`${status} ${code}: ${detail || title}`);
        this.status = status;
        [this.code, this.detail, this.title] = [code, detail, title];
        this.errors = document.errors ?? [];
        this.requestId = document.request_id ?? headers.get("X-Request-ID");
        this.retryAfter = secondsUntil(headers.get("Retry-After") ?? "");
    }
    static async from(response) {
        const text = await response.text();
        const document = { title: response.statusText, ...parsed(text) };
        return new Problem(response.status, document, response.headers);
    }
}
/**
 * The connection failed, or a success was not the service's: cut short, or a gateway's page.
 *
 * The outcome of a change is not known. `cause` is what went wrong in the last attempt.
 */
export class NoAnswer extends ChatBackendError {
    name = "NoAnswer";
    constructor(cause) {
        super(inWords(cause), { cause });
    }
}
/**
 * The service does not know the position: what it stored was reset, maybe to a backup.
 *
 * Read the list again, then follow with `lastEventId: error.lastEventId`.
 */
export class StreamReset extends ChatBackendError {
    lastEventId;
    name = "StreamReset";
    constructor(lastEventId) {
        super("the stream's position is ahead of what is stored: read the list again");
        this.lastEventId = lastEventId;
    }
}
/** Node.js says `fetch failed`, and in the cause of that why. */
function inWords(cause) {
    if (!(cause instanceof Error))
        return String(cause);
    const origin = cause.cause;
    const why = origin?.message || origin?.code;
    return why ? `${cause.message}: ${why}` : cause.message;
}
/** What a `Retry-After` says, as seconds or as a date; null if it says neither. */
function secondsUntil(retryAfter) {
    if (/^\d+$/.test(retryAfter))
        return Number(retryAfter);
    // `Date.parse` takes almost any text for a date.
    const date = retryAfter.endsWith(" GMT") ? Date.parse(retryAfter) : NaN;
    return Number.isNaN(date) ? null : Math.max(0, date - Date.now()) / 1000;
}
function parsed(text) {
    try {
        const document = JSON.parse(text);
        // Only a problem document has a code of this kind; gateways have JSON of their own.
        return typeof document?.code === "string" ? document : {};
    }
    catch {
        return {};
    }
}
