/** Requests that one node has under way at peers, over all blobs: more than they can queue would be a retry storm. */
import type { Scheduler } from './scheduler.ts';

export class Budget {
  /** Scheduler's milliseconds of the last byte of any blob: those that wait for their turn are not stuck. */
  lastByte = -Infinity;
  readonly #limit: number;
  readonly #scheduler: Pick<Scheduler, 'after'>;
  readonly #users: Set<() => void> = new Set();
  #used = 0;
  #waking = false;

  constructor(limit: number, scheduler: Pick<Scheduler, 'after'>) {
    this.#limit = limit;
    this.#scheduler = scheduler;
  }

  get isFree(): boolean {
    return this.#used < this.#limit;
  }

  /** Blobs that are being pulled. */
  get users(): number {
    return this.#users.size;
  }

  /** `extra`: a few more are allowed, for a second try at what one already waits for. */
  take(extra = 0): boolean {
    if (this.#used >= this.#limit + extra) return false;
    this.#used++;
    return true;
  }

  /** Gives one back, and soon lets the others know: at once would be in the middle of what the giver is doing. */
  give(): void {
    this.#used--;
    if (this.#waking) return;
    this.#waking = true;
    this.#scheduler.after(0, () => this.#wake());
  }

  /** `wake` is called when something becomes free; returns the way to stop that. */
  join(wake: () => void): () => void {
    this.#users.add(wake);
    return () => void this.#users.delete(wake);
  }

  /** Whoever has waited longest comes first, and last the next time. */
  #wake(): void {
    this.#waking = false;
    for (const wake of Array.from(this.#users)) {
      if (!this.isFree) return;
      if (!this.#users.delete(wake)) continue; // it has left meanwhile
      this.#users.add(wake);
      wake();
    }
  }
}
