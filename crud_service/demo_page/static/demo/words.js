// Errors, as sentences for people. Programs decide by `code`; an unknown one shows its `detail`.
import { NoAnswer, Problem } from "./client/index.js";

const TEMPORARY = [408, 429, 502, 503, 504];

const SENTENCES = {
  not_found: "There is no such chat. It was deleted, or the link is not complete.",
  not_stored_yet: "This is not stored yet. Try again in a moment.",
  message_deleted: "This message was deleted.",
  chat_deleted: "This chat was deleted.",
  precondition_failed: "Somebody else changed this message in the meantime.",
  unauthorized: "The ADMIN_TOKEN is missing or wrong.",
  rate_limited: "This application sends faster than its limit allows.",
  too_many_streams: "Too many windows follow this application.",
  overloaded: "The service is busy.",
  store_unavailable: "A store that the service needs is unavailable.",
};

export function inWords(error) {
  if (error instanceof NoAnswer) return "The service cannot be reached.";
  if (!(error instanceof Problem)) throw error;
  const [field] = error.errors;
  if (field) return `${field.field}: ${field.message}`;
  return SENTENCES[error.code] ?? (error.detail || error.title || `Error ${error.status}.`);
}

/** Whether the same request may succeed later. */
export function isTemporary(error) {
  return error instanceof NoAnswer || TEMPORARY.includes(error.status);
}

/** What a response means that the client is going to repeat; null for any other. */
export async function waitInWords(response) {
  if (!TEMPORARY.includes(response.status)) return null;
  // Its body is for the client. Of a stream, a copy that nobody reads would grow without limit.
  const problem = await Problem.from(response.clone());
  const seconds = problem.retryAfter;
  const when = seconds === null ? "Trying again." : `Trying again in ${Math.ceil(seconds)} s.`;
  return `${inWords(problem)} ${when}`;
}
