/** A block of a stream; `retry` is after how many seconds to connect again. */
export interface StreamEvent {
  name: string;
  id: string;
  data: string[];
  retry?: number;
}

/** Server-sent events (WHATWG HTML, 9.2.6) of one response; an event that is cut off is dropped. */
export class EventStream {
  private readonly decoder = new TextDecoder();
  private rest = "";
  private event = emptyEvent();

  /** The events that are complete with this chunk. */
  feed(chunk: Uint8Array): StreamEvent[] {
    const text = this.rest + this.decoder.decode(chunk, { stream: true });
    // A return at the end may be half of a line end.
    const end = text.endsWith("\r") ? text.length - 1 : text.length;
    const lines = text.slice(0, end).split(/\r\n|\n|\r/);
    this.rest = lines.pop() + text.slice(end);
    return lines.flatMap((line) => this.take(line) ?? []);
  }

  private take(line: string): StreamEvent | null {
    if (line === "") {
      const event = this.event;
      this.event = emptyEvent();
      return event.data.length > 0 ? event : null;
    }
    const [, name, value] = /^([^:]*):? ?(.*)$/su.exec(line) ?? [];
    this.set(name ?? "", value ?? "");
    return null;
  }

  private set(name: string, value: string): void {
    if (name === "data") this.event.data.push(value);
    else if (name === "event") this.event.name = value;
    else if (name === "id") this.event.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.event.retry = Number(value) / 1000;
  }
}

function emptyEvent(): StreamEvent {
  return { name: "message", id: "", data: [] };
}
