export * from "./client.js";
export { ChatBackendError, NoAnswer, Problem, StreamReset } from "./errors.js";
export { Pages } from "./lists.js";
