import assert from 'node:assert/strict';
import { parseDelay } from '../../../../bench/support/loop-delay.ts';

const MILLISECOND = 1e6;

describe('bench/support/loop-delay', () => {
  it('takes the interval of the timer off, in milliseconds', () => {
    const told = [100, 2.5 * MILLISECOND, 12 * MILLISECOND, 52 * MILLISECOND];
    assert.deepEqual(parseDelay(told, 2), { p50: 0.5, p99: 10, max: 50 });
  });

  it('has no delay below 0: a timer may fire early', () => {
    const told = [100, 1.9 * MILLISECOND, 2 * MILLISECOND, 3 * MILLISECOND];
    assert.deepEqual(parseDelay(told, 2), { p50: 0, p99: 0, max: 1 });
  });

  it('refuses an answer without looks or numbers', () => {
    for (const told of [undefined, [], [0, 0, 0, 0], [5, 1, 1], [5, 1, 'x', 1]]) {
      assert.throws(() => parseDelay(told, 2), /told no delay/);
    }
  });
});
