/** The system's clock, put forward by the test: time passes at once for code that compares readings. */
import { systemClock, type Clock } from '../../src/util/clock.ts';

export class ShiftedClock implements Clock {
  #shift = 0;

  now(): number {
    return systemClock.now() + this.#shift;
  }

  monotonic(): number {
    return systemClock.monotonic() + this.#shift;
  }

  sleep(ms: number, options?: { readonly signal?: AbortSignal | undefined }): Promise<void> {
    return systemClock.sleep(ms, options);
  }

  random(): number {
    return systemClock.random();
  }

  advance(ms: number): void {
    this.#shift += ms;
  }
}
