/** The time of the policy in a running node. */
import assert from 'node:assert/strict';
import { systemScheduler, type Scheduler } from '../../../src/swarm/scheduler.ts';
import { ManualClock } from '../cluster/clock.ts';

/** Resolves when a timer of so many milliseconds fires. */
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

describe("a running node's scheduler", () => {
  it('does not count the time in which the node was held up', async () => {
    const clock = new ManualClock();
    const scheduler = systemScheduler(clock);
    const began = scheduler.now();
    const fired = fires(scheduler, 10);
    clock.advance(510); // nobody had a core for half a second
    await fired;
    assert.equal(scheduler.now() - began, 10);
    clock.advance(100);
    assert.equal(scheduler.now() - began, 110);
  });

  it('takes off but once what several timers tell', async () => {
    const clock = new ManualClock();
    const scheduler = systemScheduler(clock);
    const began = scheduler.now();
    const fired = [10, 10, 20].map((ms) => fires(scheduler, ms));
    clock.advance(510);
    await Promise.all(fired);
    assert.equal(scheduler.now() - began, 10);
  });

  it('counts what is no later than timers usually are', async () => {
    const clock = new ManualClock();
    const scheduler = systemScheduler(clock);
    const began = scheduler.now();
    const fired = fires(scheduler, 10);
    clock.advance(60);
    await fired;
    assert.equal(scheduler.now() - began, 60);
  });

  it('never goes back', async () => {
    const clock = new ManualClock();
    const scheduler = systemScheduler(clock);
    const fired = fires(scheduler, 10);
    clock.advance(510);
    const before = scheduler.now(); // nobody knows yet that it was held up
    await fired;
    assert.equal(scheduler.now(), before);
    clock.advance(400);
    assert.equal(scheduler.now(), before);
    clock.advance(150);
    assert.equal(scheduler.now(), before + 50);
  });
});
