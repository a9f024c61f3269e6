/**
 * A time limit that ignores time in which this process was not scheduled: it counts timer ticks, and a late tick
 * counts once. If all cores of the machine are taken, the peer's answer may have come and not been read yet. A node
 * that gave up by the clock would begin the same work again, with even less time for it.
 */
import { SECOND, type Clock } from './clock.ts';
import { WeirError } from './errors.ts';

const TICKS = 10;
/** Longest time by the clock, as a multiple of the limit. */
const MOST_BY_THE_CLOCK = 5;

export class ActiveTimer implements Disposable {
  readonly #clock: Clock;
  readonly #over = new AbortController();
  readonly #done = new AbortController();
  readonly #late: (limit: string) => WeirError;
  readonly #tick: number;
  #ms: number;
  #left: number;
  #began: number;

  /**
   * @param ms milliseconds until {@link signal} is aborted
   * @param late makes the error with which it is aborted, from the limit; default: `peer_unreachable`
   */
  constructor(clock: Clock, ms: number, late: (limit: string) => WeirError = unreachable) {
    this.#clock = clock;
    this.#late = late;
    this.#tick = ms / TICKS;
    this.#ms = ms;
    this.#left = ms;
    this.#began = clock.monotonic();
    void this.#run();
  }

  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** The peer has shown that it is alive: it has `ms` milliseconds from now. */
  prolong(ms: number): void {
    this.#ms = ms;
    this.#left = ms;
    this.#began = this.#clock.monotonic();
  }

  /** Ends the timer; {@link signal} is not aborted. */
  [Symbol.dispose](): void {
    this.#done.abort();
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { signal } = this.#done;
    try {
      while (this.#left > 0 && this.#clock.monotonic() - this.#began < MOST_BY_THE_CLOCK * this.#ms) {
        const ms = Math.min(this.#tick, this.#left);
        this.#left -= ms;
        await this.#clock.sleep(ms, { signal });
      }
    } catch {
      return;
    }
    this.#over.abort(this.#late(`${this.#ms / SECOND} s`));
  }
}

function unreachable(limit: string): WeirError {
  return new WeirError('peer_unreachable', `no connection within ${limit}`);
}
