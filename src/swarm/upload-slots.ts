/** How many pieces go out at a time, and how many askers wait for their turn. */
export class UploadSlots {
  readonly #slots: number;
  readonly #queueLength: number;
  readonly #queue: (() => void)[] = [];
  #used = 0;

  constructor(slots: number, queueLength: number) {
    this.#slots = slots;
    this.#queueLength = queueLength;
  }

  /** What an asker is told of how busy this node is. */
  get load(): number {
    return this.#used + this.#queue.length;
  }

  get hasRoom(): boolean {
    return this.#used < this.#slots || this.#queue.length < this.#queueLength;
  }

  /**
   * `granted` is called now or later, where this says so; give the slot back afterwards.
   * @returns undefined where all is taken, else whether it was granted at once, and the way to leave the queue
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
