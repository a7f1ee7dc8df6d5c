/** Server-sent events (WHATWG HTML, 9.2.6) of one response; an event that is cut off is dropped. */
export class EventStream {
    decoder = new TextDecoder();
    rest = "";
    event = emptyEvent();
    /** The events that are complete with this chunk. */
    feed(chunk) {
        const text = this.rest + this.decoder.decode(chunk, { stream: true });
        // A return at the end may be half of a line end.
        const end = text.endsWith("\r") ? text.length - 1 : text.length;
        const lines = text.slice(0, end).split(/\r\n|\n|\r/);
        this.rest = lines.pop() + text.slice(end);
        return lines.flatMap((line) => this.take(line) ?? []);
    }
    take(line) {
        if (line === "") {
            const event = this.event;
            this.event = emptyEvent();
            return event.data.length > 0 ? event : null;
        }
        const [, name, value] = /^([^:]*):? ?(.*)$/su.exec(line) ?? [];
        this.set(name ?? "", value ?? "");
        return null;
    }
    set(name, value) {
        if (name === "data")
            this.event.data.push(value);
        else if (name === "event")
            this.event.name = value;
        else if (name === "id")
            this.event.id = value;
        else if (name === "retry" && /^\d+$/.test(value))
            this.event.retry = Number(value) / 1000;
    }
}
function emptyEvent() {
    return { name: "message", id: "", data: [] };
}
