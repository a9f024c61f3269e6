import assert from 'node:assert/strict';
import { watchOpenFiles } from '../../../src/daemon/open-files.ts';
import { eventually } from '../../support/eventually.ts';
import { ShiftedClock } from '../../support/shifted-clock.ts';

/** Its sleeps take no time, and put it forward. */
class QuickClock extends ShiftedClock {
  override async sleep(
    ms: number,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
    this.advance(ms);
  }
}

describe('Open files', () => {
  it('are warned of near their limit, every ten minutes', async () => {
    const clock = new QuickClock();
    const began = clock.monotonic();
    const warned: { message: string; at: number }[] = [];
    let looks = 0;
    using _watch = watchOpenFiles({
      clock,
      warn: (message) => warned.push({ message, at: clock.monotonic() - began }),
      count: async () => {
        if (++looks === 300) await new Promise(() => undefined); // enough: 25 minutes
        return { open: looks < 10 ? 89 : 90, limit: 100 };
      },
    });
    await eventually(() => assert.equal(looks, 300));
    assert.equal(warned.length, 3);
    const [first, second] = warned;
    assert.match(first?.message ?? '', /^90 of 100 files are open/);
    assert.ok((first?.at ?? 0) >= 50_000, 'not below nine tenths');
    assert.ok((second?.at ?? 0) - (first?.at ?? 0) >= 600_000);
  });

  it('are counted', async () => {
    const clock = new QuickClock();
    const warned: string[] = [];
    {
      using _watch = watchOpenFiles({ clock, warn: (message) => warned.push(message) });
      await eventually(() => assert.ok(clock.monotonic() > 0));
    }
    assert.deepEqual(warned, []);
  });
});
