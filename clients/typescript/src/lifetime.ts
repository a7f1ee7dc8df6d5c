/** A timer for longer than this many milliseconds is over at once. */
export const LONGEST_TIMER = 2 ** 31 - 1;

/** Aborts a request after a time, or when its caller does. */
export class Lifetime {
  private readonly controller = new AbortController();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly abort = () => this.controller.abort();

  constructor(
    private readonly seconds: number,
    private readonly caller?: AbortSignal,
  ) {
    caller?.addEventListener("abort", this.abort);
    if (caller?.aborted) this.abort();
    this.extend();
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Let the time begin again. */
  extend(): void {
    this.pause();
    this.timer = setTimeout(this.abort, Math.min(this.seconds * 1000, LONGEST_TIMER));
  }

  /** Let time stand still until it is extended. */
  pause(): void {
    clearTimeout(this.timer);
  }

  /**
   * Return what a promise does; throw when the time is over before.
   *
   * Node.js never ends reading some bodies that can't be decompressed, aborted or not; neither does a
   * `fetch` of the caller that takes no notice of the signal.
   */
  within<T>(reading: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const abort = () => reject(new Error(`no response within ${this.seconds} seconds`));
      this.signal.addEventListener("abort", abort, { once: true });
      if (this.signal.aborted) abort();
      const settled = () => this.signal.removeEventListener("abort", abort);
      reading.finally(settled).then(resolve, reject);
    });
  }

  end(): void {
    this.pause();
    this.caller?.removeEventListener("abort", this.abort);
    // Closes the connection of a response that was not read to its end.
    this.abort();
  }
}
