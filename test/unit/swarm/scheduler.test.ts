/** The time of the policy in a running node. */
import assert from 'node:assert/strict';
import { systemScheduler, type Scheduler } from '../../../src/swarm/scheduler.ts';
import { ManualClock } from '../cluster/clock.ts';

/** Resolves when a timer of `ms` milliseconds fires. */
function fires(scheduler: Scheduler, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  scheduler.after(ms, resolve);
  return keepAlive(promise);
}

/** The scheduler's timers do not. */
async function keepAlive(promise: Promise<void>): Promise<void> {
  const timer = setInterval(() => undefined, 1000);
  await promise;
  clearInterval(timer);
}

describe('systemScheduler', () => {
  it('does not count the time in which the node was held up', async () => {
    const clock = new ManualClock();
    const scheduler = systemScheduler(clock);
    const began = scheduler.now();
    const fired = fires(scheduler, 10);
    clock.advance(510); // the process had no core for half a second
    await fired;
    assert.equal(scheduler.now() - began, 10);
    clock.advance(100);
    assert.equal(scheduler.now() - began, 110);
  });

  it('counts a delay once if several timers show it', async () => {
    const clock = new ManualClock();
    const scheduler = systemScheduler(clock);
    const began = scheduler.now();
    const fired = [10, 10, 20].map((ms) => fires(scheduler, ms));
    clock.advance(510);
    await Promise.all(fired);
    assert.equal(scheduler.now() - began, 10);
  });

  it('ignores the usual lateness of timers', async () => {
    const clock = new ManualClock();
    const scheduler = systemScheduler(clock);
    const began = scheduler.now();
    const fired = fires(scheduler, 10);
    clock.advance(60);
    await fired;
    assert.equal(scheduler.now() - began, 60);
  });

  it('never goes backwards', async () => {
    const clock = new ManualClock();
    const scheduler = systemScheduler(clock);
    const fired = fires(scheduler, 10);
    clock.advance(510);
    const before = scheduler.now(); // no timer has shown yet that it was held up
    await fired;
    assert.equal(scheduler.now(), before);
    clock.advance(400);
    assert.equal(scheduler.now(), before);
    clock.advance(150);
    assert.equal(scheduler.now(), before + 50);
  });
});
