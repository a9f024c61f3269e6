import type { Clock } from '../../../src/util/clock.ts';

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  /** The two clocks start apart, so that a test fails if code mixes them up. */
  #wall = 1_700_000_000_000;
  #monotonic = 5000;

  now(): number {
    return this.#wall;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  random(): number {
    return 0.5;
  }

  async sleep(): Promise<void> {
    throw new Error('nothing sleeps here');
  }

  advance(ms: number): void {
    this.#wall += ms;
    this.#monotonic += ms;
  }

  /** Somebody sets the time of day. */
  stepWall(ms: number): void {
    this.#wall += ms;
  }
}

/** Sleeps take `slowness` times as long as they should, and no time of ours. */
export class SlowClock extends ManualClock {
  readonly #slowness: number;

  constructor(slowness = 1) {
    super();
    this.#slowness = slowness;
  }

  override async sleep(
    ms = 0,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    signal?.throwIfAborted();
    this.advance(ms * this.#slowness);
  }
}
