/**
 * How many requests one node has under way, over all blobs. More than peers can queue would be a retry storm. On a slow
 * link many transfers side by side starve each other, until some time out that only had to wait.
 */
import { REQUEST_WINDOW_STEP, type Parameters } from './parameters.ts';
import type { Scheduler } from './scheduler.ts';

/** One blob's share of a {@link RequestWindow}. */
export interface WindowShare {
  /**
   * Whether a blob with `held` requests may take one more. It may exceed its even share if no other blob has less than
   * its own; otherwise blobs take turns.
   */
  mayTake(held: number): boolean;
  /** Whether {@link wants} would change anything. */
  mayWant(held: number): boolean;
  /** There is a chunk to ask for. A blob below its even share comes before blobs above theirs. */
  wants(held: number): void;
  leave(): void;
}

export class RequestWindow {
  /** Scheduler's milliseconds of the last byte of any blob: blobs that wait for their turn are not stalled. */
  lastByte = -Infinity;
  /** Upstream requests under way. */
  fetches = 0;
  readonly #parameters: Pick<Parameters, 'requestsMax' | 'requestsMin' | 'chunkTimeRange'>;
  #allowed: number;
  readonly #scheduler: Pick<Scheduler, 'after'>;
  readonly #users: Set<() => void> = new Set();
  /** Blobs below their even share that could use more, until the next place is released. */
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

  /** How many requests to peers may be under way. */
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

  /** @param extra places beyond the limit, for hedges */
  take(extra = 0): boolean {
    if (this.#used >= this.limit + extra) return false;
    this.#used++;
    return true;
  }

  /** Releases a place, and wakes the others in the next turn: at once would interrupt the caller's work. */
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
        // If there are more blobs than places, a blob may not retake the place that it has just released.
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

  /** The blob that has waited longest comes first, and last the next time. */
  #wake(): void {
    this.#waking = false;
    for (const wake of Array.from(this.#users)) {
      if (!this.isFree) return;
      if (!this.#users.delete(wake)) continue; // it has left meanwhile
      this.#users.add(wake);
      this.#short.delete(wake); // it calls `wants` again
      this.#turn = wake;
      wake();
      this.#turn = undefined;
    }
  }
}
