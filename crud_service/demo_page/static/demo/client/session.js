/** Sends requests, repeats them, and keeps streams open. */
import { ChatBackendError, NoAnswer, Problem, StreamReset } from "./errors.js";
import { EventStream } from "./event-stream.js";
import { Lifetime, LONGEST_TIMER } from "./lifetime.js";
import { maySucceed, Retries } from "./retries.js";
// Longer than the services wait for a store that restarts.
const TIMEOUT_SECONDS = 15;
// A stream sends a comment every 15 seconds: longer silence means a dead connection.
const SILENCE_SECONDS = 40;
const EVENT_STREAM = "text/event-stream";
// Until a stream names another time.
const RECONNECT_SECONDS = 2;
// What the services read of a request. The response to one that is much larger is lost, since the
// connection ends while it is still being sent, and it would be sent again in vain.
const LARGEST_BODY_BYTES = 2 ** 20;
// Also for what is deleted in the background.
const DELETED = new Set([202, 204]);
class NoStream extends NoAnswer {
    constructor(mediaType) {
        super(`a stream that is answered with ${mediaType || "no type"}`);
    }
}
export class Session {
    crudUrl;
    numberingUrl;
    admin;
    retries;
    timeout;
    fetch;
    constructor(options) {
        this.crudUrl = address("crudUrl", options.crudUrl);
        this.numberingUrl = address("numberingUrl", options.numberingUrl);
        this.admin = options.adminToken ? { Authorization: bearer(options.adminToken) } : {};
        this.retries = new Retries(options.retries);
        this.timeout = options.timeout ?? TIMEOUT_SECONDS;
        this.fetch = options.fetch ?? ((...request) => globalThis.fetch(...request));
    }
    /** Return a successful response and its JSON; throw Problem or NoAnswer out of retries. */
    async send(call) {
        return this.repeat(call, async (lifetime) => {
            const response = await this.open(call, lifetime);
            const text = await lifetime.within(response.text()).catch(noAnswer);
            const value = call.method === "DELETE" ? deleted(response) : decoded(text);
            lifetime.end();
            return { headers: response.headers, value };
        });
    }
    /** Repeat an attempt while it may succeed; one that does has to end its lifetime. */
    async repeat(call, attempt) {
        const began = performance.now();
        for (let attempts = 1;; attempts++) {
            const lifetime = new Lifetime(this.timeout);
            try {
                return await attempt(lifetime);
            }
            catch (error) {
                lifetime.end();
                if (!(error instanceof ChatBackendError))
                    throw error;
                error.attempts = attempts;
                const pause = this.retries.pause(attempts, error);
                const late = (performance.now() - began) / 1000 + pause > this.retries.seconds;
                if (late || !maySucceed(error, call))
                    throw error;
                await sleep(pause);
            }
        }
    }
    /**
     * Yield the objects of a response that has one, as JSON, in each line.
     *
     * Only its beginning is repeated: throws NoAnswer if the connection ends or is silent later, or a
     * line is not a JSON object.
     */
    async *lines(call) {
        const { body, lifetime } = await this.repeat(call, async (lifetime) => {
            const { body } = await this.open(call, lifetime);
            return { body, lifetime };
        });
        const decoder = new TextDecoder();
        let [rest, number] = ["", 0];
        lifetime.extend();
        for await (const chunk of chunks(body, lifetime)) {
            lifetime.pause();
            const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
            rest = lines.pop() ?? "";
            for (const line of lines)
                yield decodedLine(line, ++number);
            lifetime.extend();
        }
    }
    async json(call) {
        return (await this.send(call)).value;
    }
    async versioned(call) {
        const { headers, value } = await this.send(call);
        return { value: value, etag: headers.get("ETag") ?? "" };
    }
    /**
     * Update a resource; return its state.
     *
     * An update whose response was lost does not match its own change when it is repeated.
     */
    async put(url, changes, ifMatch) {
        try {
            return await this.json({ method: "PUT", url, json: changes, headers: matching(ifMatch) });
        }
        catch (error) {
            const overtaken = error instanceof Problem && error.code === "precondition_failed";
            if (!overtaken || error.attempts === 1)
                throw error;
            const state = await this.json({ method: "GET", url });
            // As they were sent: what is undefined is not.
            if (!contains(state, JSON.parse(JSON.stringify(changes))))
                throw error;
            return state;
        }
    }
    async delete(url, ifMatch, headers = {}) {
        await this.send({ method: "DELETE", url, headers: { ...headers, ...matching(ifMatch) } });
    }
    /**
     * Yield the events of a stream, resumed whenever its connection ends.
     *
     * Throws NoAnswer if something else is answered in its place for as long as requests are repeated:
     * a gateway's page, or that of a network to sign in to.
     */
    async *events(url, { after, lastEventId }, { signal, onConnection }) {
        const began = performance.now();
        let [failures, reconnect] = [0, RECONNECT_SECONDS];
        let foreignSince;
        while (!signal?.aborted) {
            const start = lastEventId;
            let pause;
            try {
                const headers = start ? { "Last-Event-ID": start } : {};
                for await (const event of this.connection({ method: "GET", url, query: { after }, headers }, signal)) {
                    if (event.name === "ready")
                        onConnection?.(true);
                    failures = 0;
                    foreignSince = undefined;
                    lastEventId = event.id || lastEventId;
                    reconnect = event.retry ?? reconnect;
                    yield event;
                    // More events may have arrived together with this one.
                    if (signal?.aborted)
                        return;
                }
                // A service that stops ends all its streams at once.
                pause = Math.random() * reconnect;
            }
            catch (raised) {
                if (signal?.aborted)
                    return;
                let error = raised;
                // What `after` names may have been numbered and not be stored yet.
                const isEarly = error instanceof StreamReset && start === undefined;
                if (isEarly && performance.now() - began < this.retries.seconds * 1000) {
                    error = new Problem(404, { code: "not_stored_yet" });
                    lastEventId = undefined;
                }
                if (!(error instanceof ChatBackendError))
                    throw error;
                if (!maySucceed(error, { untilStored: true }))
                    throw error;
                pause = this.retries.pause(++failures, error);
                if (error instanceof NoStream) {
                    foreignSince ??= performance.now();
                    if ((performance.now() - foreignSince) / 1000 + pause > this.retries.seconds)
                        throw error;
                }
            }
            finally {
                onConnection?.(false);
            }
            await sleep(pause, signal);
        }
    }
    /** Yield the events of one connection; throw StreamReset if it can't be resumed. */
    async *connection(call, signal) {
        const lifetime = new Lifetime(SILENCE_SECONDS, signal);
        try {
            const { body, headers } = await this.open(call, lifetime);
            const mediaType = headers.get("Content-Type") ?? "";
            if (!mediaType.toLowerCase().startsWith(EVENT_STREAM))
                throw new NoStream(mediaType);
            const stream = new EventStream();
            for await (const chunk of chunks(body, lifetime)) {
                lifetime.extend();
                for (const event of stream.feed(chunk)) {
                    if (event.name === "reset")
                        throw new StreamReset(event.id);
                    yield event;
                }
            }
        }
        finally {
            lifetime.end();
        }
    }
    /** Return a response whose body is not read yet; throw Problem if it is an error. */
    async open(call, lifetime) {
        const headers = new Headers(call.headers);
        const body = call.json === undefined ? null : new TextEncoder().encode(JSON.stringify(call.json, finite));
        if (body)
            headers.set("Content-Type", "application/json");
        if (body && body.length > LARGEST_BODY_BYTES) {
            throw new Problem(413, { code: "body_too_large", detail: "the request body is larger than 1 MiB" });
        }
        // A mistake, such as a malformed URL, is thrown here, and is no error of the connection.
        const request = new Request(withQuery(call.url, call.query ?? {}), {
            method: call.method,
            headers,
            body,
            cache: "no-store",
            // The services never redirect; a redirected POST would lose its body.
            redirect: "manual",
            signal: lifetime.signal,
        });
        // Node.js forgets a request while its response is read, and its signal then aborts nothing. A `fetch`
        // of the caller may take nothing but the request.
        const answered = this.fetch(request, { signal: lifetime.signal });
        const response = await lifetime.within(answered).catch(noAnswer);
        if (response.ok)
            return response;
        throw await lifetime.within(Problem.from(response)).catch(noAnswer);
    }
}
/** Return the address of a service without slashes at its end; throw TypeError if it is malformed. */
function address(option, url) {
    let [isAddress, cause] = [false, undefined];
    try {
        // In a browser it may be relative to the page.
        isAddress = /^https?:/.test(new Request(url).url) && !/[?#]/.test(url);
    }
    catch (error) {
        cause = error;
    }
    if (!isAddress) {
        throw new TypeError(`${option} has to be an address such as http://127.0.0.1:3000`, { cause });
    }
    return url.replace(/\/+$/, "");
}
/** JSON has neither NaN nor infinities: left to itself, `JSON.stringify` makes them null. */
function finite(_key, value) {
    if (typeof value === "number" && !Number.isFinite(value))
        throw new TypeError(`JSON has no ${value}`);
    return value;
}
/** Return the header for a token, as UTF-8: `fetch` sends the low byte of each character. */
function bearer(token) {
    return `Bearer ${String.fromCharCode(...new TextEncoder().encode(token))}`;
}
export function matching(etag) {
    return etag === undefined ? {} : { "If-Match": etag };
}
function withQuery(url, query) {
    const pairs = Object.entries(query).flatMap(([name, value]) => value === undefined ? [] : [[name, String(value)]]);
    return pairs.length > 0 ? `${url}?${new URLSearchParams(pairs)}` : url;
}
function contains(state, changes) {
    const values = new Map(Object.entries(state));
    return Object.entries(changes).every(([name, it]) => sorted(values.get(name)) === sorted(it));
}
/** Return a value as JSON, with the keys of its objects sorted: the services don't keep their order. */
function sorted(value) {
    return JSON.stringify(value ?? null, (_key, it) => {
        if (typeof it !== "object" || it === null || Array.isArray(it))
            return it;
        return Object.fromEntries(Object.entries(it).sort(([one], [other]) => (one < other ? -1 : 1)));
    });
}
/** Yield a body as it arrives; throw NoAnswer if its time is over. */
async function* chunks(body, lifetime) {
    const reader = body?.getReader();
    try {
        while (reader) {
            const { done, value } = await lifetime.within(reader.read()).catch(noAnswer);
            if (done)
                return;
            yield value;
        }
    }
    finally {
        lifetime.end();
        // For a `fetch` that takes no notice of the signal. Nothing waits for it: it may never be done.
        reader?.cancel().catch(() => { });
    }
}
/** Return the object in a line of a response; throw NoAnswer if there is none. */
function decodedLine(line, number) {
    let value;
    try {
        value = JSON.parse(line);
    }
    catch (error) {
        return noAnswer(`line ${number} is not JSON: ${error instanceof Error ? error.message : error}`);
    }
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? value : noAnswer(`line ${number} is not a JSON object`);
}
/** Return the JSON of a response; throw NoAnswer if it is cut, or a gateway's own page. */
function decoded(text) {
    try {
        return JSON.parse(text);
    }
    catch (error) {
        return noAnswer(error);
    }
}
/** Return null for the response to a deletion; throw NoAnswer if it is a gateway's own page. */
function deleted({ status }) {
    return DELETED.has(status) ? null : noAnswer(`a deletion that is answered ${status}`);
}
function noAnswer(error) {
    throw new NoAnswer(error);
}
function sleep(seconds, signal) {
    return new Promise((done) => {
        const end = () => {
            clearTimeout(timer);
            signal?.removeEventListener("abort", end);
            done();
        };
        const timer = setTimeout(end, Math.min(seconds * 1000, LONGEST_TIMER));
        signal?.addEventListener("abort", end);
        if (signal?.aborted)
            end();
    });
}
