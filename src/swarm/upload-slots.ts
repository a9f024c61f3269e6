/** How many chunks are sent at a time, and how many requests wait for their turn. */
export class UploadSlots {
  readonly #slots: number;
  readonly #queueLength: number;
  readonly #queue: (() => void)[] = [];
  #used = 0;

  constructor(slots: number, queueLength: number) {
    this.#slots = slots;
    this.#queueLength = queueLength;
  }

  /** The load that an asker is told. */
  get load(): number {
    return this.#used + this.#queue.length;
  }

  get hasRoom(): boolean {
    return this.#used < this.#slots || this.#queue.length < this.#queueLength;
  }

  /**
   * Calls `granted` now, or later if the request is queued; the caller gives the slot back afterwards.
   * @returns undefined if slots and queue are full; else whether it was granted at once, and how to leave the queue
   */
  take(granted: () => void): { readonly atOnce: boolean; readonly leave: () => void } | undefined {
    if (this.#used < this.#slots) {
      this.#used++;
      granted();
      return { atOnce: true, leave: () => undefined };
    }
    if (this.#queue.length >= this.#queueLength) return undefined;
    this.#queue.push(granted);
    return { atOnce: false, leave: () => this.#leave(granted) };
  }

  give(): void {
    const next = this.#queue.shift();
    if (next === undefined) this.#used--;
    else next();
  }

  #leave(granted: () => void): void {
    const at = this.#queue.indexOf(granted);
    if (at >= 0) this.#queue.splice(at, 1);
  }
}
