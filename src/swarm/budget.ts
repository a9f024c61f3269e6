/** Requests that one node has under way at peers, over all blobs: more than they can queue would be a retry storm. */
import type { Scheduler } from './scheduler.ts';

/** One blob's part in a {@link Budget}. */
export interface BudgetShare {
  /** Whether one more may be taken by a blob that has `held`: above its even part only where no other one goes short. */
  mayTake(held: number): boolean;
  /** Whether it is news that there is something to ask for: see {@link wants}. */
  mayWant(held: number): boolean;
  /** There is something to ask for. A blob that has less than its even part comes before those that have more. */
  wants(held: number): void;
  leave(): void;
}

export class Budget {
  /** Scheduler's milliseconds of the last byte of any blob: those that wait for their turn are not stuck. */
  lastByte = -Infinity;
  readonly #limit: number;
  readonly #scheduler: Pick<Scheduler, 'after'>;
  readonly #users: Set<() => void> = new Set();
  /** Those that have less than their even part and could use more, until the next one is given back. */
  readonly #short: Set<() => void> = new Set();
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

  /** `wake` is called when something becomes free. */
  join(wake: () => void): BudgetShare {
    this.#users.add(wake);
    const hasLess = (held: number): boolean => held < Math.ceil(this.#limit / this.#users.size);
    return {
      mayTake: (held) => this.isFree && (hasLess(held) || this.#short.size === 0),
      mayWant: (held) => hasLess(held) && !this.#short.has(wake),
      wants: (held) => void (hasLess(held) && this.#short.add(wake)),
      leave: () => {
        this.#users.delete(wake);
        this.#short.delete(wake);
      },
    };
  }

  /** Whoever has waited longest comes first, and last the next time. */
  #wake(): void {
    this.#waking = false;
    for (const wake of Array.from(this.#users)) {
      if (!this.isFree) return;
      if (!this.#users.delete(wake)) continue; // it has left meanwhile
      this.#users.add(wake);
      this.#short.delete(wake); // it says so again
      wake();
    }
  }
}
