import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import * as fc from 'fast-check';
import { KIB, MIB, systemClock, type Clock } from '../../../src/util/clock.ts';
import { limitedBy, STEP_BYTES, TokenBucket } from '../../../src/util/token-bucket.ts';

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
      const bucket = new TokenBucket(TokenBucket.memory(rate), clock);
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
          const bucket = new TokenBucket(TokenBucket.memory(rate), clock);
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
    const bucket = new TokenBucket(TokenBucket.memory(10 * MIB), clock);
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
    const bucket = new TokenBucket(TokenBucket.memory(MIB), clock);
    clock.pass(60_000);
    assert.equal(bucket.reserve(STEP_BYTES), 0);
    const wait = bucket.reserve(MIB);
    assert.ok(wait > 930 && wait <= 1000, `${wait} ms`);
  });

  it('gives back the bytes of a taker that goes away', async () => {
    const clock = new FakeClock();
    const bucket = new TokenBucket(TokenBucket.memory(MIB), clock);
    bucket.reserve(MIB);
    const before = bucket.reserve(0);
    const gone = new AbortController();
    const taking = bucket.take(MIB, { signal: gone.signal });
    gone.abort(new Error('gone'));
    await assert.rejects(taking, /gone/);
    assert.ok(Math.abs(bucket.reserve(0) - before) < 1e-6);
    await assert.rejects(bucket.take(1, { signal: gone.signal }), /gone/);
  });

  it('is one limit for all that share its memory', () => {
    const clock = new FakeClock();
    const memory = TokenBucket.memory(MIB);
    const buckets = [1, 2].map(() => new TokenBucket(memory, clock));
    for (const bucket of buckets) bucket.reserve(MIB);
    for (const bucket of buckets) {
      const wait = bucket.reserve(0);
      assert.ok(wait > 1930 && wait <= 2000, `${wait} ms`);
    }
    assert.equal(new TokenBucket(TokenBucket.memory(MIB), clock).reserve(0), 0);
  });

  it('changes its rate while it is used, for all that share its memory', async () => {
    const clock = new FakeClock();
    const memory = TokenBucket.memory();
    const [one, other] = [new TokenBucket(memory, clock), new TokenBucket(memory, clock)];
    assert.equal(one.isLimited, false);
    assert.equal(one.reserve(1000 * MIB), 0, 'without a rate there is no limit');
    TokenBucket.setRate(memory, MIB);
    assert.ok(other.isLimited);
    one.reserve(MIB);
    assert.ok(other.reserve(0) > 900);
    TokenBucket.setRate(memory, MIB); // no change
    assert.ok(other.reserve(0) > 900);
    TokenBucket.setRate(memory, 100 * MIB);
    assert.equal(other.reserve(MIB), 0, 'what was spent at the old rate does not count');
    TokenBucket.setRate(memory, undefined);
    assert.equal(other.reserve(1000 * MIB), 0);
  });

  it('waits for the slower of two limits, and gives both back', async () => {
    const clock = new FakeClock();
    const [slow, fast] = [MIB, 10 * MIB].map((rate) => new TokenBucket(TokenBucket.memory(rate), clock));
    assert.ok(slow !== undefined && fast !== undefined);
    const both = limitedBy([slow, fast], clock);
    const wait = both.reserve(MIB);
    assert.ok(wait > 900 && wait <= 1000, `${wait} ms`);
    const gone = new AbortController();
    const taking = both.take(10 * MIB, { signal: gone.signal });
    gone.abort(new Error('gone'));
    await assert.rejects(taking, /gone/);
    assert.ok(fast.reserve(0) < 100 && slow.reserve(0) <= wait + 1);
  });

  it('loses no byte of threads that take at once', async () => {
    const [threads, times, rate] = [3, 20_000, 1000];
    const memory = TokenBucket.memory(rate);
    const began = performance.now();
    await Promise.all(Array.from({ length: threads }, () => inThread('take', { memory, times })));
    const wait = new TokenBucket(memory, systemClock).reserve(0);
    // Each takes 1000 bytes at a time, so one that is lost would be a second.
    const spent = threads * times * 1000 - (STEP_BYTES / rate) * 1000;
    assert.ok(wait <= spent + 1 && wait > spent - (performance.now() - began) - 1, `${wait} of ${spent} ms`);
  });
});

describe('systemClock', () => {
  it('shows the same monotonic time in all threads', async () => {
    await setTimeout(20); // a clock that began with the thread would be behind
    const before = systemClock.monotonic();
    const there = await inThread('tell', {});
    assert.ok(typeof there === 'number' && there >= before && there <= systemClock.monotonic());
  });
});

/** What the function of taker.ts answers in a thread of its own. */
async function inThread(call: string, workerData: object): Promise<unknown> {
  const thread = new Worker(new URL('taker.ts', import.meta.url), { workerData: { call, ...workerData } });
  const [answer] = (await once(thread, 'message')) as [unknown];
  return answer;
}
