/** Lists, read page by page. */
/** A list: iterate over its items, or over its `pages()`; both are read as they are needed. */
export class Pages {
    session;
    first;
    constructor(session, first) {
        this.session = session;
        this.first = first;
    }
    async *[Symbol.asyncIterator]() {
        for await (const page of this.pages())
            yield* page.items;
    }
    async *pages() {
        let call = this.first;
        while (call !== null) {
            const { headers, value } = await this.session.send(call);
            const number = (name) => (headers.has(name) ? Number(headers.get(name)) : null);
            const [total, lastChange] = [number("X-Total-Count"), number("X-Last-Change")];
            yield { items: value, total, lastChange };
            call = following(call, headers.get("Link") ?? "");
        }
    }
}
/** The parameters of its link are enough: it may name an address that is not ours to use. */
function following(call, link) {
    const next = /<[^>?]*\?([^>]*)>;\s*rel="next"/.exec(link)?.[1];
    if (next === undefined)
        return null;
    return { ...call, query: Object.fromEntries(new URLSearchParams(next)) };
}
