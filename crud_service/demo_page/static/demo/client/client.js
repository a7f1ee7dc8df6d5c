import { creation, listing, segment } from "./calls.js";
import { NoAnswer, Problem } from "./errors.js";
import { Session, } from "./session.js";
const MESSAGE_EVENTS = ["message.created", "message.updated", "message.deleted"];
/** Both services. */
export class Client {
    session;
    constructor(options) {
        this.session = new Session(options);
    }
    /** Return an application; sends no request. */
    application(accessToken) {
        return new ApplicationClient(this.session, accessToken);
    }
    /** Create an application. It has no idempotency key: a lost response is an error. */
    createApplication(name) {
        const { crudUrl, admin: headers } = this.session;
        const url = `${crudUrl}/applications`;
        return this.session.json({ method: "POST", url, json: { name }, headers, repeatable: false });
    }
    /** List applications, oldest first. */
    applications(query = {}) {
        const { crudUrl, admin } = this.session;
        return listing(this.session, `${crudUrl}/applications`, query, admin);
    }
}
/** An application; whether it exists shows with the first request. */
export class ApplicationClient {
    session;
    accessToken;
    url;
    constructor(session, accessToken) {
        this.session = session;
        this.accessToken = accessToken;
        this.url = `${session.crudUrl}/applications/${segment("an access token", accessToken)}`;
    }
    /** Return a chat of the application; sends no request. */
    chat(number) {
        return new ChatClient(this.session, this.accessToken, number);
    }
    async read() {
        return (await this.readVersioned()).value;
    }
    /** Return the application with its entity tag. */
    readVersioned() {
        return this.session.versioned({ method: "GET", url: this.url });
    }
    /** Rename it. */
    update(name, { ifMatch } = {}) {
        return this.session.put(this.url, { name }, ifMatch);
    }
    /** Delete the application with everything in it. */
    async delete() {
        try {
            await this.session.delete(this.url, undefined, this.session.admin);
        }
        catch (error) {
            // A deletion whose response was lost finds nothing when it is repeated.
            const isGone = error instanceof Problem && error.code === "not_found";
            if (!isGone || error.attempts === 1)
                throw error;
        }
    }
    /**
     * Give it a new access token, once, however often it has to be sent; return it.
     *
     * The former token is invalid at once, so continue with `client.application(newToken)`. Keep your
     * own `idempotencyKey` until you have the token: it returns the same answer for 24 hours.
     */
    rotate({ idempotencyKey } = {}) {
        const call = creation(`${this.url}/rotate`, undefined, idempotencyKey);
        return this.session.json({ ...call, headers: { ...call.headers, ...this.session.admin } });
    }
    /**
     * Yield the application, then each chat followed by its messages, last a line `end`.
     *
     * Throws NoAnswer if the export is cut short; it can only be begun anew.
     */
    async *export() {
        let isWhole = false;
        const url = `${this.url}/export`;
        for await (const line of this.session.lines({ method: "GET", url })) {
            isWhole = line.type === "end";
            yield line;
        }
        if (!isWhole)
            throw new NoAnswer("the export was cut short");
    }
    /** Create a chat, once, however often it has to be sent; return its number. */
    createChat({ idempotencyKey, ...attributes } = {}) {
        const url = `${this.session.numberingUrl}/applications/${this.accessToken}/chats`;
        return this.session.json(creation(url, attributes, idempotencyKey));
    }
    /** List chats by number, or those written to last first (`sort: "-last_message"`). */
    chats(query = {}) {
        return listing(this.session, `${this.url}/chats`, query);
    }
    /**
     * Yield which chats change, without end, over lost connections.
     *
     * Read the list of chats after every `ready`: what happened before it is not announced.
     */
    async *follow(options = {}) {
        for await (const { name, data } of this.session.events(`${this.url}/stream`, {}, options)) {
            if (name === "ready")
                yield { type: name };
            else if (name === "chat.changed")
                yield { type: name, ...JSON.parse(data.join("\n")) };
        }
    }
}
/** A chat of an application; whether it exists shows with the first request. */
export class ChatClient {
    session;
    number;
    path;
    url;
    constructor(session, accessToken, number) {
        this.session = session;
        this.number = number;
        this.path = `/applications/${accessToken}/chats/${segment("a chat number", number)}`;
        this.url = `${session.crudUrl}${this.path}`;
    }
    async read(options = {}) {
        return (await this.readVersioned(options)).value;
    }
    /** Return the chat with its entity tag. */
    readVersioned(options = {}) {
        return this.session.versioned({ method: "GET", url: this.url, ...options });
    }
    /** Change name, metadata or both. */
    update({ ifMatch, ...changes }) {
        return this.session.put(this.url, changes, ifMatch);
    }
    /** Delete the chat with all its messages; its number stays taken. */
    delete({ ifMatch } = {}) {
        return this.session.delete(this.url, ifMatch, this.session.admin);
    }
    /** Create a message, once, however often it has to be sent; return its number. */
    createMessage(body, { idempotencyKey, ...attributes } = {}) {
        return this.create("messages", { body, ...attributes }, idempotencyKey);
    }
    /** Create up to 500 messages with consecutive numbers: all of them or none. */
    createMessages(messages, { idempotencyKey } = {}) {
        return this.create("messages/bulk", { messages }, idempotencyKey);
    }
    create(path, content, key) {
        const url = `${this.session.numberingUrl}${this.path}/${path}`;
        return this.session.json(creation(url, content, key));
    }
    async message(number, options = {}) {
        return (await this.messageVersioned(number, options)).value;
    }
    /** Return a message with its entity tag. */
    messageVersioned(number, options = {}) {
        return this.session.versioned({ method: "GET", url: this.messageUrl(number), ...options });
    }
    /** Change body, metadata or both. */
    updateMessage(number, { ifMatch, ...changes }) {
        return this.session.put(this.messageUrl(number), changes, ifMatch);
    }
    /** Delete a message; its number stays taken. */
    deleteMessage(number, { ifMatch } = {}) {
        return this.session.delete(this.messageUrl(number), ifMatch);
    }
    messageUrl(number) {
        return `${this.url}/messages/${segment("a message number", number)}`;
    }
    /** List messages by number. */
    messages(query = {}) {
        return listing(this.session, `${this.url}/messages`, query);
    }
    /**
     * List messages that changed after a change, in the order of their changes.
     *
     * Continue with the `lastChange` of the last page.
     */
    changes(changedAfter, options = {}) {
        const query = { changed_after: changedAfter, ...options };
        return listing(this.session, `${this.url}/messages`, query);
    }
    /** List messages that contain every part of a keyword, best match first. */
    search(keyword, query = {}) {
        const all = { keyword, ...query };
        return listing(this.session, `${this.url}/messages/search`, all);
    }
    /**
     * Yield what happens to messages, without end, over lost connections.
     *
     * Starts after the event with an id, or after a message's number, else now; without an id,
     * changes of messages are those from now on. Every creation comes once, in the order of numbers;
     * several changes of a message may come as one.
     */
    async *follow(options = {}) {
        const events = this.session.events(`${this.url}/messages/stream`, options, options);
        for await (const { name, id, data } of events) {
            const type = MESSAGE_EVENTS.find((known) => known === name);
            if (type)
                yield { type, id, message: JSON.parse(data.join("\n")) };
        }
    }
}
