import assert from 'node:assert/strict';
import { once } from 'node:events';
import { SECOND } from '../../../src/util/clock.ts';
import { ActiveTimer } from '../../../src/util/active-time.ts';
import { SlowClock } from '../cluster/clock.ts';
import { VirtualClock } from '../network/virtual-clock.ts';

/** Seconds by the clock until it is over, if each sleep takes so many times longer than it should. */
async function lasts(ms: number, slowness: number): Promise<number> {
  const clock = new SlowClock(slowness);
  const began = clock.monotonic();
  using time = new ActiveTimer(clock, ms);
  await once(time.signal, 'abort');
  return (clock.monotonic() - began) / SECOND;
}

describe('ActiveTimer', () => {
  it('is over after its time', async () => {
    assert.equal(await lasts(3 * SECOND, 1), 3);
  });

  it('does not count time in which ticks are late, but not for ever', async () => {
    assert.equal(await lasts(3 * SECOND, 3), 9);
    assert.equal(await lasts(3 * SECOND, 50), 15);
  });

  it('begins again with another limit if it is prolonged', async () => {
    const clock = new VirtualClock();
    using time = new ActiveTimer(clock, 1.5 * SECOND);
    await clock.advance(SECOND);
    time.prolong(6 * SECOND);
    await clock.advance(5.9 * SECOND);
    assert.equal(time.signal.aborted, false);
    await clock.advance(0.2 * SECOND);
    assert.match(time.signal.reason.message, /within 6 s/);
  });

  it('names the missing event and the limit in its error', async () => {
    using time = new ActiveTimer(new SlowClock(), 1.5 * SECOND);
    await once(time.signal, 'abort');
    assert.equal(time.signal.reason.code, 'peer_unreachable');
    assert.match(time.signal.reason.message, /no connection within 1.5 s/);
  });

  it('is never over after its disposal', async () => {
    const time = new ActiveTimer(new SlowClock(), SECOND);
    time[Symbol.dispose]();
    await new Promise(setImmediate);
    assert.equal(time.signal.aborted, false);
  });
});
