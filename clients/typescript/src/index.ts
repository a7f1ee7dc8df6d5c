export type { PageSize } from "./calls.js";
export * from "./client.js";
export { ChatBackendError, NoAnswer, Problem, StreamReset } from "./errors.js";
export { type Page, Pages } from "./lists.js";
export type * from "./resources.js";
export type { RetryOptions } from "./retries.js";
export type { ClientOptions, FollowOptions, StreamStart, Versioned } from "./session.js";
