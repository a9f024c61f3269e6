import assert from 'node:assert/strict';
import { pair, percentile, percentiles, spread } from '../../simulator/stats.ts';

describe('Statistics', () => {
  it('takes the middle value, or the mean of the two in the middle', () => {
    assert.equal(spread([3, 1, 2]).median, 2);
    assert.equal(spread([4, 1, 3, 2]).median, 2.5);
    assert.equal(spread([7]).median, 7);
  });

  it('keeps the order of measurements', () => {
    const values = [3, 1, 2];
    assert.deepEqual(spread(values), { median: 2, min: 1, max: 3, values: [3, 1, 2] });
    assert.deepEqual(values, [3, 1, 2]);
  });

  it('compares the two sides of each turn', () => {
    // Both sides were twice as slow in the second turn: the ratio does not move.
    const { ratio, reference, weir } = pair([1, 2], [1.1, 2.2]);
    assert.deepEqual(ratio.values, [1.1, 1.1]);
    assert.equal(reference.median, 1.5);
    assert.equal(weir.max, 2.2);
  });

  it('refuses sides that were not measured in turns', () => {
    assert.throws(() => pair([1, 2], [1]), RangeError);
    assert.throws(() => spread([]), RangeError);
  });

  it('interpolates percentiles', () => {
    const values = Array.from({ length: 101 }, (_, index) => 100 - index);
    assert.deepEqual(percentiles(values), { p50: 50, p99: 99, max: 100 });
    assert.equal(percentile([0, 10], 25), 2.5);
    assert.equal(percentile([0, 10], 100), 10);
  });
});
