/**
 * A time limit that counts only what this node could use. It is counted in ticks, and one that comes late counts as one that
 * did not: where all cores of the machine are taken, the other side's answer may be there and not be looked at yet. Who
 * gave up by the clock would begin the same work anew, and have even less time for it.
 */
import { SECOND, type Clock } from './clock.ts';
import { WeirError } from './errors.ts';

const TICKS = 10;
/** By the clock it may last so many times longer. */
export const MOST_BY_THE_CLOCK = 5;

export class OwnTime implements Disposable {
  readonly #clock: Clock;
  readonly #over = new AbortController();
  readonly #done = new AbortController();

  /** @param ms milliseconds until {@link signal} is aborted with `peer_unreachable` */
  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    void this.#run(ms);
  }

  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** It is not needed any more. */
  [Symbol.dispose](): void {
    this.#done.abort();
  }

  /** Never rejects. */
  async #run(ms: number): Promise<void> {
    const began = this.#clock.monotonic();
    const { signal } = this.#done;
    try {
      for (let tick = 0; tick < TICKS && this.#clock.monotonic() - began < MOST_BY_THE_CLOCK * ms; tick++) {
        await this.#clock.sleep(ms / TICKS, { signal });
      }
    } catch {
      return;
    }
    this.#over.abort(new WeirError('peer_unreachable', `no connection within ${ms / SECOND} s`));
  }
}
