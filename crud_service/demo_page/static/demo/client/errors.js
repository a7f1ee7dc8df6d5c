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
        const retryAfter = headers.get("Retry-After") ?? "";
        this.retryAfter = /^\d+$/.test(retryAfter) ? Number(retryAfter) : null;
    }
    static async from(response) {
        const text = await response.text();
        return new Problem(response.status, parsed(text), response.headers);
    }
}
/**
 * The connection failed. Without retries left, the outcome of a change is not known.
 *
 * `cause` is the error of the last attempt.
 */
export class NoAnswer extends ChatBackendError {
    name = "NoAnswer";
    constructor(cause) {
        super(cause instanceof Error ? cause.message : String(cause), { cause });
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
function parsed(text) {
    try {
        const document = JSON.parse(text);
        return typeof document === "object" && document !== null ? document : {};
    }
    catch {
        return {};
    }
}
