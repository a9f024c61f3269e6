import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { ReceiveBudget, type ReceiveShare } from '../../../src/util/receive-budget.ts';

const LIMIT = 100;

/** A budget whose callbacks the test calls. */
function scene() {
  const calls: (() => void)[] = [];
  const budget = new ReceiveBudget({ limit: LIMIT, later: (callback) => void calls.push(callback) });
  const settle = async (): Promise<void> => {
    do {
      for (const call of calls.splice(0)) call();
      await new Promise(setImmediate);
    } while (calls.length > 0);
  };
  return { budget, settle };
}

const never = new AbortController().signal;

describe('ReceiveBudget', () => {
  it('gives bytes while there is room', async () => {
    const { budget, settle } = scene();
    assert.ok(budget.tryTake(60));
    assert.ok(!budget.tryTake(41));
    assert.ok(budget.tryTake(40));
    const waiting = budget.take(10, never);
    await settle();
    assert.equal(budget.used, 100);
    budget.give(40);
    await settle();
    await waiting;
    assert.equal(budget.used, 70);
  });

  it('lets no later waiter overtake, however little it needs', async () => {
    const { budget, settle } = scene();
    budget.tryTake(90);
    const order: string[] = [];
    const large = budget.take(50, never).then(() => order.push('large'));
    const small = budget.take(5, never).then(() => order.push('small'));
    assert.ok(!budget.tryTake(1));
    budget.give(30);
    await settle();
    assert.deepEqual(order, []);
    budget.give(30);
    await settle();
    await Promise.all([large, small]);
    assert.deepEqual(order, ['large', 'small']);
  });

  it('lets those behind go on when the first one gives up', async () => {
    const { budget, settle } = scene();
    budget.tryTake(90);
    const stop = new AbortController();
    const large = assert.rejects(budget.take(50, stop.signal), /enough/);
    const small = budget.take(5, never);
    stop.abort(new Error('enough'));
    await settle();
    await Promise.all([large, small]);
    assert.equal(budget.used, 95);
  });

  it('gives more than its limit if no other bytes are taken', () => {
    const { budget } = scene();
    assert.ok(budget.tryTake(LIMIT + 1));
    assert.ok(!budget.tryTake(1));
    budget.give(LIMIT + 1);
    assert.ok(budget.tryTake(1));
    assert.ok(!budget.tryTake(LIMIT));
  });

  it('wakes takers that do not wait, in turn, so that none of two starves', async () => {
    const { budget, settle } = scene();
    const taken = [0, 0];
    const shares: ReceiveShare[] = [0, 1].map((at) =>
      budget.join(() => {
        // As a swarm does: it takes all that it may.
        while (shares[at]?.hasRoom(50) === true) {
          shares[at]?.take(50);
          taken[at] = (taken[at] ?? 0) + 1;
        }
      }),
    );
    budget.tryTake(100);
    for (const share of shares) assert.ok(!share.hasRoom(50));
    for (let round = 0; round < 10; round++) {
      budget.give(50);
      await settle();
    }
    assert.deepEqual(taken, [5, 5]);
  });

  it('is never above its limit, and always drains, in any order of taking, giving back and giving up', async () => {
    const step = fc.record({
      user: fc.nat(4),
      bytes: fc.integer({ min: 1, max: LIMIT }),
      what: fc.constantFrom('take', 'try', 'share', 'give', 'abort'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { budget, settle } = scene();
        const held: number[] = [];
        const waiting = new Set<AbortController>();
        const shares = Array.from({ length: 5 }, () => {
          const share: ReceiveShare = budget.join(() => {
            if (!share.hasRoom(20)) return;
            share.take(20);
            held.push(20);
          });
          return share;
        });
        for (const { user, bytes, what } of steps) {
          if (what === 'try' && budget.tryTake(bytes)) held.push(bytes);
          if (what === 'share' && shares[user]?.hasRoom(20) === true) {
            shares[user]?.take(20);
            held.push(20);
          }
          if (what === 'take') {
            const stop = new AbortController();
            waiting.add(stop);
            budget.take(bytes, stop.signal).then(
              () => void (waiting.delete(stop), held.push(bytes)),
              () => undefined,
            );
          }
          if (what === 'give') {
            const some = held.pop();
            if (some !== undefined) budget.give(some);
          }
          if (what === 'abort') {
            const [first] = waiting;
            first?.abort();
            if (first !== undefined) waiting.delete(first);
          }
          if (user === 0) await settle();
          assert.ok(budget.used <= LIMIT, `${budget.used}`);
        }
        // All bytes are given back, again and again, as writes end: every waiter gets a turn.
        for (let round = 0; round < 200; round++) {
          await settle();
          assert.ok(budget.used <= LIMIT, `${budget.used}`);
          for (const some of held.splice(0)) budget.give(some);
        }
        assert.equal(waiting.size, 0);
        assert.equal(budget.used, 0);
        assert.ok(budget.hasRoom(LIMIT), 'a waiter is left');
      }),
      { numRuns: 100 },
    );
  });
});
