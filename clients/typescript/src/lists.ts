/** Lists, read page by page. */

import type { Call, Session } from "./session.js";

/** A page of a list; `total` and `lastChange` are null where the list does not have them. */
export interface Page<T> {
  items: T[];
  total: number | null;
  /** Where to continue from with `changes`. */
  lastChange: number | null;
}

/** A list: iterate over its items, or over its `pages()`; both are read as they are needed. */
export class Pages<T> implements AsyncIterable<T> {
  constructor(
    private readonly session: Session,
    private readonly first: Call,
  ) {}

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for await (const page of this.pages()) yield* page.items;
  }

  async *pages(): AsyncGenerator<Page<T>> {
    let call: Call | null = this.first;
    while (call !== null) {
      const { headers, value } = await this.session.send(call);
      const number = (name: string) => (headers.has(name) ? Number(headers.get(name)) : null);
      const [total, lastChange] = [number("X-Total-Count"), number("X-Last-Change")];
      yield { items: value as T[], total, lastChange };
      call = following(call, headers.get("Link") ?? "");
    }
  }
}

/** The parameters of its link are enough: it may name an address that is not ours to use. */
function following(call: Call, link: string): Call | null {
  const next = /<[^>?]*\?([^>]*)>;\s*rel="next"/.exec(link)?.[1];
  if (next === undefined) return null;
  return { ...call, query: Object.fromEntries(new URLSearchParams(next)) };
}
