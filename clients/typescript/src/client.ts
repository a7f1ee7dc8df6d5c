import { creation, listing, type PageSize, segment } from "./calls.js";
import { NoAnswer, Problem } from "./errors.js";
import type { Pages } from "./lists.js";
import type {
  Application,
  ApplicationQuery,
  Chat,
  ChatAttributes,
  ChatChanges,
  ChatQuery,
  CreatedChat,
  CreatedMessage,
  CreatedMessages,
  ExportLine,
  FollowedMessage,
  FoundMessage,
  ListedChat,
  Message,
  MessageAttributes,
  MessageChanges,
  MessageQuery,
  NewMessage,
  SearchQuery,
} from "./resources.js";
import {
  type ClientOptions,
  type FollowOptions,
  Session,
  type StreamStart,
  type Versioned,
} from "./session.js";

export interface UntilStored {
  /** Wait for what has just been created, instead of throwing `not_stored_yet`. */
  untilStored?: boolean;
}

export interface IfMatch {
  /** Only if the current state has this entity tag. */
  ifMatch?: string;
}

export interface IdempotencyKey {
  /** Made for each creation if it is not given. */
  idempotencyKey?: string;
}

const MESSAGE_EVENTS = ["message.created", "message.updated", "message.deleted"] as const;

/** A message was created, updated or deleted; `id` is where to resume after it. */
export interface MessageEvent {
  type: (typeof MESSAGE_EVENTS)[number];
  id: string;
  message: FollowedMessage;
}

/** `ready`: changes are announced from here on, read the list of chats now. */
export type ApplicationEvent =
  | { type: "ready" }
  | { type: "chat.changed"; chat_number: number; highest_number: number; highest_change: number };

/** Both services. */
export class Client {
  private readonly session: Session;

  constructor(options: ClientOptions) {
    this.session = new Session(options);
  }

  /** Return an application; sends no request. */
  application(accessToken: string): ApplicationClient {
    return new ApplicationClient(this.session, accessToken);
  }

  /** Create an application. It has no idempotency key: a lost response is an error. */
  createApplication(name: string): Promise<Application> {
    const { crudUrl, admin: headers } = this.session;
    const url = `${crudUrl}/applications`;
    return this.session.json({ method: "POST", url, json: { name }, headers, repeatable: false });
  }

  /** List applications, oldest first. */
  applications(query: ApplicationQuery & PageSize = {}): Pages<Application> {
    const { crudUrl, admin } = this.session;
    return listing(this.session, `${crudUrl}/applications`, query, admin);
  }
}

/** An application; whether it exists shows with the first request. */
export class ApplicationClient {
  private readonly url: string;

  constructor(
    private readonly session: Session,
    readonly accessToken: string,
  ) {
    this.url = `${session.crudUrl}/applications/${segment("an access token", accessToken)}`;
  }

  /** Return a chat of the application; sends no request. */
  chat(number: number): ChatClient {
    return new ChatClient(this.session, this.accessToken, number);
  }

  async read(): Promise<Application> {
    return (await this.readVersioned()).value;
  }

  /** Return the application with its entity tag. */
  readVersioned(): Promise<Versioned<Application>> {
    return this.session.versioned({ method: "GET", url: this.url });
  }

  /** Rename it. */
  update(name: string, { ifMatch }: IfMatch = {}): Promise<Application> {
    return this.session.put(this.url, { name }, ifMatch);
  }

  /** Delete the application with everything in it. */
  async delete(): Promise<void> {
    try {
      await this.session.delete(this.url, undefined, this.session.admin);
    } catch (error) {
      // A deletion whose response was lost finds nothing when it is repeated.
      const isGone = error instanceof Problem && error.code === "not_found";
      if (!isGone || error.attempts === 1) throw error;
    }
  }

  /**
   * Give it a new access token, once, however often it has to be sent; return it.
   *
   * The former token is invalid at once, so continue with `client.application(newToken)`. Keep your
   * own `idempotencyKey` until you have the token: it returns the same answer for 24 hours.
   */
  rotate({ idempotencyKey }: IdempotencyKey = {}): Promise<Application> {
    const call = creation(`${this.url}/rotate`, undefined, idempotencyKey);
    return this.session.json({ ...call, headers: { ...call.headers, ...this.session.admin } });
  }

  /**
   * Yield the application, then each chat followed by its messages, last a line `end`.
   *
   * Throws NoAnswer if the export is cut short; it can only be begun anew.
   */
  async *export(): AsyncGenerator<ExportLine> {
    let isWhole = false;
    const url = `${this.url}/export`;
    for await (const line of this.session.lines<ExportLine>({ method: "GET", url })) {
      isWhole = line.type === "end";
      yield line;
    }
    if (!isWhole) throw new NoAnswer("the export was cut short");
  }

  /** Create a chat, once, however often it has to be sent; return its number. */
  createChat({
    idempotencyKey,
    ...attributes
  }: ChatAttributes & IdempotencyKey = {}): Promise<CreatedChat> {
    const url = `${this.session.numberingUrl}/applications/${this.accessToken}/chats`;
    return this.session.json(creation(url, attributes, idempotencyKey));
  }

  /** List chats by number, or those written to last first (`sort: "-last_message"`). */
  chats(query: ChatQuery & PageSize = {}): Pages<ListedChat> {
    return listing(this.session, `${this.url}/chats`, query);
  }

  /**
   * Yield which chats change, without end, over lost connections.
   *
   * Read the list of chats after every `ready`: what happened before it is not announced.
   */
  async *follow(options: FollowOptions = {}): AsyncGenerator<ApplicationEvent> {
    for await (const { name, data } of this.session.events(`${this.url}/stream`, {}, options)) {
      if (name === "ready") yield { type: name };
      else if (name === "chat.changed") yield { type: name, ...JSON.parse(data.join("\n")) };
    }
  }
}

/** A chat of an application; whether it exists shows with the first request. */
export class ChatClient {
  private readonly path: string;
  private readonly url: string;

  constructor(
    private readonly session: Session,
    accessToken: string,
    readonly number: number,
  ) {
    this.path = `/applications/${accessToken}/chats/${segment("a chat number", number)}`;
    this.url = `${session.crudUrl}${this.path}`;
  }

  async read(options: UntilStored = {}): Promise<Chat> {
    return (await this.readVersioned(options)).value;
  }

  /** Return the chat with its entity tag. */
  readVersioned(options: UntilStored = {}): Promise<Versioned<Chat>> {
    return this.session.versioned({ method: "GET", url: this.url, ...options });
  }

  /** Change name, metadata or both. */
  update({ ifMatch, ...changes }: ChatChanges & IfMatch): Promise<Chat> {
    return this.session.put(this.url, changes, ifMatch);
  }

  /** Delete the chat with all its messages; its number stays taken. */
  delete({ ifMatch }: IfMatch = {}): Promise<void> {
    return this.session.delete(this.url, ifMatch, this.session.admin);
  }

  /** Create a message, once, however often it has to be sent; return its number. */
  createMessage(
    body: string,
    { idempotencyKey, ...attributes }: MessageAttributes & IdempotencyKey = {},
  ): Promise<CreatedMessage> {
    return this.create("messages", { body, ...attributes }, idempotencyKey);
  }

  /** Create up to 500 messages with consecutive numbers: all of them or none. */
  createMessages(
    messages: readonly NewMessage[],
    { idempotencyKey }: IdempotencyKey = {},
  ): Promise<CreatedMessages> {
    return this.create("messages/bulk", { messages }, idempotencyKey);
  }

  private create<T>(path: string, content: object, key?: string): Promise<T> {
    const url = `${this.session.numberingUrl}${this.path}/${path}`;
    return this.session.json(creation(url, content, key));
  }

  async message(number: number, options: UntilStored = {}): Promise<Message> {
    return (await this.messageVersioned(number, options)).value;
  }

  /** Return a message with its entity tag. */
  messageVersioned(number: number, options: UntilStored = {}): Promise<Versioned<Message>> {
    return this.session.versioned({ method: "GET", url: this.messageUrl(number), ...options });
  }

  /** Change body, metadata or both. */
  updateMessage(number: number, { ifMatch, ...changes }: MessageChanges & IfMatch): Promise<Message> {
    return this.session.put(this.messageUrl(number), changes, ifMatch);
  }

  /** Delete a message; its number stays taken. */
  deleteMessage(number: number, { ifMatch }: IfMatch = {}): Promise<void> {
    return this.session.delete(this.messageUrl(number), ifMatch);
  }

  private messageUrl(number: number): string {
    return `${this.url}/messages/${segment("a message number", number)}`;
  }

  /** List messages by number. */
  messages(query: MessageQuery & PageSize = {}): Pages<Message> {
    return listing(this.session, `${this.url}/messages`, query);
  }

  /**
   * List messages that changed after a change, in the order of their changes.
   *
   * Continue with the `lastChange` of the last page.
   */
  changes(changedAfter: number, options: PageSize = {}): Pages<Message> {
    const query = { changed_after: changedAfter, ...options };
    return listing(this.session, `${this.url}/messages`, query);
  }

  /** List messages that contain every part of a keyword, best match first. */
  search(keyword: string, query: SearchQuery & PageSize = {}): Pages<FoundMessage> {
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
  async *follow(options: StreamStart & FollowOptions = {}): AsyncGenerator<MessageEvent> {
    const events = this.session.events(`${this.url}/messages/stream`, options, options);
    for await (const { name, id, data } of events) {
      const type = MESSAGE_EVENTS.find((known) => known === name);
      if (type) yield { type, id, message: JSON.parse(data.join("\n")) };
    }
  }
}
