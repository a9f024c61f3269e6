import assert from 'node:assert/strict';
import { SECOND } from '../../../src/util/clock.ts';
import { firstByteTimeout, type FirstByteTimeoutOptions } from '../../../src/mirror/first-byte-timeout.ts';
import { SlowClock } from '../cluster/clock.ts';

interface Scene {
  readonly wait?: number;
  readonly slowness?: number;
  readonly hasPeers?: boolean;
  readonly isAhead?: boolean;
  /** Milliseconds from the beginning to the last byte; undefined: no byte arrives. */
  readonly lastByte?: (now: number) => number | undefined;
}

async function waits(scene: Scene): Promise<{ readonly seconds: number; readonly isHeldUp: boolean }> {
  const clock = new SlowClock(scene.slowness);
  const began = clock.monotonic();
  const passed = (): number => clock.monotonic() - began;
  const options: FirstByteTimeoutOptions = {
    clock,
    wait: scene.wait ?? 3 * SECOND,
    isAhead: scene.isAhead ?? false,
    hasPeers: () => scene.hasPeers ?? false,
    isArriving: (within) => {
      const last = scene.lastByte?.(passed());
      return last !== undefined && passed() - last < within;
    },
  };
  const { isHeldUp } = await firstByteTimeout(options, new AbortController().signal);
  return { seconds: passed() / SECOND, isHeldUp };
}

describe('firstByteTimeout', () => {
  it('ends after the wait if no byte arrives', async () => {
    assert.deepEqual(await waits({}), { seconds: 3, isHeldUp: false });
    assert.deepEqual(await waits({ wait: SECOND / 4 }), { seconds: 0.25, isHeldUp: false });
  });

  it('waits on while bytes arrive, but not for ever', async () => {
    assert.equal((await waits({ lastByte: (now) => Math.min(now, 6 * SECOND) })).seconds, 8.5);
    assert.equal((await waits({ lastByte: (now) => now })).seconds, 20.25);
    assert.equal((await waits({ lastByte: (now) => now, wait: 30 * SECOND })).seconds, 30.25);
  });

  it('waits for bytes ahead of those that arrive for as long as they arrive', async () => {
    const lastByte = (now: number): number => Math.min(now, 80 * SECOND);
    assert.equal((await waits({ lastByte, isAhead: true })).seconds, 90);
    assert.equal((await waits({ isAhead: true })).seconds, 3);
  });

  it('waits longer with peers, as all runtimes would be sent away at once', async () => {
    const lastByte = (now: number): number => Math.min(now, SECOND);
    assert.equal((await waits({ lastByte })).seconds, 3.5);
    assert.equal((await waits({ lastByte, hasPeers: true })).seconds, 11);
  });

  it('leaves out time in which this node was short of CPU, and reports it', async () => {
    assert.deepEqual(await waits({ slowness: 4 }), { seconds: 12, isHeldUp: true });
    assert.deepEqual(await waits({ slowness: 1.5 }), { seconds: 4.5, isHeldUp: false });
    // A byte of four seconds ago is fresh if each second took four.
    assert.equal((await waits({ slowness: 4, lastByte: () => 5 * SECOND })).seconds, 15);
  });

  it('waits longer if bytes arrive with peers and this node is short of CPU', async () => {
    const lastByte = (now: number): number => now;
    assert.equal((await waits({ lastByte, slowness: 1.2 })).seconds, 24.3);
    assert.equal((await waits({ lastByte, slowness: 1.2, hasPeers: true })).seconds, 29.1);
    assert.equal((await waits({ lastByte, slowness: 4, hasPeers: true })).seconds, 61);
  });

  it('ends after a minute by the clock, however few ticks that was', async () => {
    const { seconds, isHeldUp } = await waits({ slowness: 100 });
    assert.equal(seconds, 75);
    assert.ok(isHeldUp);
  });

  it('ends when its signal is aborted', async () => {
    const options = {
      clock: new SlowClock(),
      wait: 1,
      isAhead: false,
      hasPeers: () => true,
      isArriving: () => true,
    };
    await assert.rejects(firstByteTimeout(options, AbortSignal.abort(new Error('answered'))), /answered/);
  });
});
