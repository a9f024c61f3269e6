import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import * as fc from 'fast-check';
import { KIB, MIB, type Clock } from '../../../src/util/clock.ts';
import { STEP_BYTES, TokenBucket } from '../../../src/util/token-bucket.ts';

/** Time that passes only in sleeps; timers fire `late` milliseconds after they should. */
class FakeClock implements Clock {
  #now = 1000;
  readonly #late: number;
  readonly #sleepers: { readonly at: number; readonly wake: () => void }[] = [];

  constructor(late = 0) {
    this.#late = late;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  random(): number {
    return 0.5;
  }

  sleep(ms: number, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    this.#sleepers.push({ at: this.#now + ms + this.#late, wake: resolve });
    return promise;
  }

  pass(ms: number): void {
    this.#now += ms;
  }

  /** Runs until no sleeper is left. */
  async run(): Promise<void> {
    for (;;) {
      await setImmediate(); // lets all work go on that needs no time
      this.#sleepers.sort((a, b) => a.at - b.at);
      const next = this.#sleepers.shift();
      if (next === undefined) return;
      this.#now = Math.max(this.#now, next.at);
      next.wake();
    }
  }
}

describe('TokenBucket', () => {
  it('keeps the rate within 1% over 10 s, with timers that are late', async () => {
    for (const late of [0, 1, 4, 20]) {
      const clock = new FakeClock(late);
      const rate = 50 * MIB;
      const bucket = new TokenBucket(rate, clock);
      const began = clock.monotonic();
      const take = async (): Promise<void> => {
        for (let bytes = 0; bytes < rate * 10; bytes += STEP_BYTES) await bucket.take(STEP_BYTES);
      };
      await Promise.all([take(), clock.run()]);
      const seconds = (clock.monotonic() - began) / 1000;
      assert.ok(Math.abs(seconds - 10) < 0.1, `${seconds} s with timers that are ${late} ms late`);
    }
  });

  it('never gives more than rate × time and the burst', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 10 * KIB, max: 1000 * MIB }),
        fc.array(fc.tuple(fc.integer({ min: 1, max: STEP_BYTES }), fc.nat({ max: 200 })), { maxLength: 200 }),
        (rate, steps) => {
          const clock = new FakeClock();
          const bucket = new TokenBucket(rate, clock);
          const burst = Math.max(STEP_BYTES, rate * 0.05);
          const began = clock.monotonic();
          let taken = 0;
          for (const [bytes, pause] of steps) {
            taken += bytes;
            const usable = clock.monotonic() + bucket.reserve(bytes);
            assert.ok(taken <= ((usable - began) / 1000) * rate + burst + 1);
            clock.pass(pause);
          }
        },
      ),
    );
  });

  it('shares evenly among takers that take steps', async () => {
    const clock = new FakeClock();
    const bucket = new TokenBucket(10 * MIB, clock);
    const shares = [0, 0, 0, 0];
    const until = clock.monotonic() + 2000;
    const takers = shares.map(async (_, i) => {
      while (clock.monotonic() < until) {
        await bucket.take(STEP_BYTES);
        shares[i] = (shares[i] ?? 0) + STEP_BYTES;
      }
    });
    await clock.run();
    await Promise.all(takers);
    assert.ok(Math.max(...shares) - Math.min(...shares) <= 2 * STEP_BYTES, shares.join());
  });

  it('does not save up unused time', () => {
    const clock = new FakeClock();
    const bucket = new TokenBucket(MIB, clock);
    clock.pass(60_000);
    assert.equal(bucket.reserve(STEP_BYTES), 0);
    const wait = bucket.reserve(MIB);
    assert.ok(wait > 930 && wait <= 1000, `${wait} ms`);
  });

  it('gives back the bytes of a taker that goes away', async () => {
    const clock = new FakeClock();
    const bucket = new TokenBucket(MIB, clock);
    bucket.reserve(MIB);
    const before = bucket.reserve(0);
    const gone = new AbortController();
    const taking = bucket.take(MIB, { signal: gone.signal });
    gone.abort(new Error('gone'));
    await assert.rejects(taking, /gone/);
    assert.ok(Math.abs(bucket.reserve(0) - before) < 1e-6);
    await assert.rejects(bucket.take(1, { signal: gone.signal }), /gone/);
  });
});
