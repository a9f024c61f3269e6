import assert from 'node:assert/strict';
import { SeededRandom } from '../../../simulator/random.ts';
import { trendOf, type Sample } from '../../../../bench/churn/trend.ts';

const NOISE = 10;

/** 200 samples of a quantity around 100. */
function samples(value: (index: number) => number, seed = 1): readonly Sample[] {
  const random = new SeededRandom(seed);
  return Array.from({ length: 200 }, (_, index): Sample => [
    5 * index,
    value(index) + NOISE * (random.next() - 0.5),
  ]);
}

describe('bench/churn/trend', () => {
  it('sees growth through noise', () => {
    const trend = trendOf(samples((index) => 100 + 0.2 * index));
    assert.equal(trend.verdict, 'grows');
    assert.ok(Math.abs(trend.slope - 0.2 / 5) < 0.01, `${trend.slope}`);
    assert.ok(Math.abs(trend.growth - 20 / 130) < 0.05, `${trend.growth}`);
  });

  it('sees no growth in noise', () => {
    for (let seed = 1; seed <= 50; seed++) {
      assert.equal(trendOf(samples(() => 100, seed)).verdict, 'steady', `seed ${seed}`);
    }
  });

  it('ignores the first half, which is a warm-up', () => {
    assert.equal(trendOf(samples((index) => Math.min(index, 90) + 50)).verdict, 'steady');
  });

  it('is not misled by a few outliers at the end', () => {
    assert.equal(trendOf(samples((index) => (index >= 190 ? 1000 : 100))).verdict, 'steady');
  });

  it('calls a falling or a sawtooth series steady', () => {
    assert.equal(trendOf(samples((index) => 200 - 0.2 * index)).verdict, 'steady');
    assert.equal(trendOf(samples((index) => 100 + (index % 20) * 3)).verdict, 'steady');
  });

  it('ignores growth that is certain but tiny', () => {
    const trend = trendOf(Array.from({ length: 200 }, (_, index): Sample => [index, 1000 + index / 10]));
    assert.equal(trend.verdict, 'steady');
    assert.ok(trend.z > 3.09);
  });

  it('accepts a constant series, and an empty one', () => {
    assert.deepEqual(trendOf(Array.from({ length: 100 }, (_, index): Sample => [index, 7])), {
      verdict: 'steady',
      slope: 0,
      growth: 0,
      z: 0,
    });
    assert.equal(trendOf([]).verdict, 'too short');
    assert.equal(trendOf(samples((index) => index).slice(0, 38)).verdict, 'too short');
  });
});
