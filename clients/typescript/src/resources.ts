/** What the services return and accept, as in `components.schemas` of their OpenAPI documents. */

export type Metadata = Record<string, unknown>;

export interface Application {
  name: string;
  access_token: string;
  created_at: string;
  updated_at: string;
  chat_count: number;
}

export interface Message {
  number: number;
  body: string;
  created_at: string;
  updated_at: string;
  sender?: string;
  metadata?: Metadata;
  reply_to?: number;
  deleted_at?: string;
}

/** A search result; `highlight` is HTML. */
export interface FoundMessage extends Message {
  highlight?: string;
}

/** A message as streams send it. */
export interface FollowedMessage extends Message {
  chat_number: number;
}

export interface Chat {
  number: number;
  message_count: number;
  created_at: string;
  updated_at: string;
  name?: string;
  metadata?: Metadata;
  deleted_at?: string;
}

/** A chat in a list; `last_message` with `include: "last_message"`, null without messages. */
export interface ListedChat extends Chat {
  last_message?: Message | null;
}

export interface CreatedChat {
  number: number;
  access_token: string;
}

export interface CreatedMessage {
  number: number;
  chat_number: number;
  access_token: string;
}

export interface CreatedMessages {
  first_number: number;
  last_number: number;
  chat_number: number;
  access_token: string;
}

export interface ExportedApplication extends Application {
  type: "application";
}

export interface ExportedChat extends Chat {
  type: "chat";
}

export interface ExportedMessage extends Message {
  type: "message";
}

/** The last line of an export: how many lines of both kinds it has. */
export interface ExportEnd {
  type: "end";
  chats: number;
  messages: number;
}

export type ExportLine = ExportedApplication | ExportedChat | ExportedMessage | ExportEnd;

export interface FieldError {
  field: string;
  message: string;
}

/** Optional fields of a new chat. */
export interface ChatAttributes {
  name?: string;
  metadata?: Metadata;
}

/** What an update of a chat changes; null removes. */
export interface ChatChanges {
  name?: string | null;
  metadata?: Metadata | null;
}

/** Optional fields of a new message. */
export interface MessageAttributes {
  sender?: string;
  metadata?: Metadata;
  reply_to?: number;
}

export interface NewMessage extends MessageAttributes {
  body: string;
}

/** What an update of a message changes; null removes the metadata. */
export interface MessageChanges {
  body?: string;
  metadata?: Metadata | null;
}

/** Exclusive bounds and order of a list. */
export interface PageQuery {
  after?: number;
  before?: number;
  order?: "asc" | "desc";
}

export interface ApplicationQuery {
  after?: string;
  before?: string;
  order?: "asc" | "desc";
}

export interface ChatQuery extends PageQuery {
  sort?: "-last_message";
  include?: "last_message";
}

/** Exclusive bounds in time (RFC 3339, with a zone), and who sent it. */
export interface MessageFilters {
  created_after?: string;
  created_before?: string;
  sender?: string;
}

export interface MessageQuery extends PageQuery, MessageFilters {}

export interface SearchQuery extends MessageFilters {
  sort?: "relevance" | "number" | "-number";
  highlight?: boolean;
}
