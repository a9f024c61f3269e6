/**
 * A time limit that counts only what this node could use. It is counted in ticks, and one that comes late counts as one that
 * did not: where all cores of the machine are taken, the other side's answer may be there and not be looked at yet. Who
 * gave up by the clock would begin the same work anew, and have even less time for it.
 */
import { SECOND, type Clock } from './clock.ts';
import { WeirError } from './errors.ts';

const TICKS = 10;
/** By the clock it may last so many times longer. */
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
   * @param late what it is aborted with, told the limit; `peer_unreachable` where none is given
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

  /** The other side has shown that it is there: it has `ms` milliseconds from now. */
  prolong(ms: number): void {
    this.#ms = ms;
    this.#left = ms;
    this.#began = this.#clock.monotonic();
  }

  /** It is not needed any more. */
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
