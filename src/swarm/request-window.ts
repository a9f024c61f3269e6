/**
 * Requests that one node has under way, over all blobs. At peers, more than they can queue would be a retry storm; and
 * on a slow link many transfers side by side starve each other, until some time out that only had to wait.
 */
import { REQUEST_WINDOW_STEP, type Parameters } from './parameters.ts';
import type { Scheduler } from './scheduler.ts';

/** One blob's part in a {@link RequestWindow}. */
export interface WindowShare {
  /**
   * Whether one more may be taken by a blob that has `held`: above its even part only where no other one goes short,
   * and else in turn.
   */
  mayTake(held: number): boolean;
  /** Whether it is news that there is something to ask for: see {@link wants}. */
  mayWant(held: number): boolean;
  /** There is something to ask for. A blob that has less than its even part comes before those that have more. */
  wants(held: number): void;
  leave(): void;
}

export class RequestWindow {
  /** Scheduler's milliseconds of the last byte of any blob: those that wait for their turn are not stuck. */
  lastByte = -Infinity;
  /** Requests to the registry. */
  fetches = 0;
  readonly #parameters: Pick<Parameters, 'requestsMax' | 'requestsMin' | 'chunkTimeRange'>;
  #allowed: number;
  readonly #scheduler: Pick<Scheduler, 'after'>;
  readonly #users: Set<() => void> = new Set();
  /** Those that have less than their even part and could use more, until the next one is given back. */
  readonly #short: Set<() => void> = new Set();
  #used = 0;
  #waking = false;
  /** Whose turn it is. */
  #turn: (() => void) | undefined;

  constructor(
    parameters: Pick<Parameters, 'requestsMax' | 'requestsMin' | 'chunkTimeRange'>,
    scheduler: Pick<Scheduler, 'after'>,
  ) {
    this.#parameters = parameters;
    this.#allowed = parameters.requestsMax;
    this.#scheduler = scheduler;
  }

  get isFree(): boolean {
    return this.#used < this.limit;
  }

  /** Requests at peers that may be under way. */
  get limit(): number {
    return Math.floor(this.#allowed);
  }

  /** A transfer from a peer took so many milliseconds; Infinity: it stalled. */
  onTransferDone(ms: number): void {
    const { requestsMax, requestsMin, chunkTimeRange } = this.#parameters;
    const [short, long] = chunkTimeRange;
    if (ms < short) this.#allowed = Math.min(requestsMax, this.#allowed + REQUEST_WINDOW_STEP);
    else if (ms > long) this.#allowed = Math.max(requestsMin, this.#allowed - REQUEST_WINDOW_STEP);
  }

  /** Blobs that are being pulled. */
  get users(): number {
    return this.#users.size;
  }

  /** `extra`: a few more are allowed, for a second try at what one already waits for. */
  take(extra = 0): boolean {
    if (this.#used >= this.limit + extra) return false;
    this.#used++;
    return true;
  }

  /** Gives one back, and soon lets the others know: at once would be in the middle of what the giver is doing. */
  release(): void {
    this.#used--;
    if (this.#waking) return;
    this.#waking = true;
    this.#scheduler.after(0, () => this.#wake());
  }

  /** `wake` is called when something becomes free. */
  join(wake: () => void): WindowShare {
    this.#users.add(wake);
    const hasLess = (held: number): boolean => held < Math.ceil(this.limit / this.#users.size);
    return {
      mayTake: (held) => {
        if (this.#short.size === 0 || !this.isFree) return this.isFree;
        // Of more blobs than places none may take again what it has just given back, before the others.
        const others = this.#short.size - (this.#short.has(wake) ? 1 : 0);
        const mayGoFirst = this.#users.size <= this.limit || this.limit - this.#used > others;
        return hasLess(held) && (mayGoFirst || this.#turn === wake);
      },
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
      this.#turn = wake;
      wake();
      this.#turn = undefined;
    }
  }
}
