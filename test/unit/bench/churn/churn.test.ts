import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { MIB, MINUTE, SECOND } from '../../../../src/util/clock.ts';
import { contradiction, stayers, type ChurnSettings } from '../../../../bench/churn/options.ts';
import { churnRows, verdictOf, type ChurnResult } from '../../../../bench/churn/report.ts';
import type { Trend } from '../../../../bench/churn/trend.ts';
import { bytesBelow } from '../../../../bench/churn/watch.ts';
import { Zipf } from '../../../../bench/churn/zipf.ts';
import { SeededRandom } from '../../../simulator/random.ts';
import { TempDir } from '../../../support/temp.ts';

const SETTINGS: ChurnSettings = {
  nodes: 10,
  for: 30 * MINUTE,
  images: 40,
  layers: [4 * MIB, 3 * MIB],
  quota: 64 * MIB,
  zipf: 1,
  pullEvery: 4 * SECOND,
  stay: MINUTE,
  away: 10 * SECOND,
  seed: 1,
};
const STEADY: Trend = { verdict: 'steady', slope: 0, growth: 0.01, z: 0.5 };
const GROWS: Trend = { verdict: 'grows', slope: 1, growth: 0.25, z: 9 };
const SHORT: Trend = { verdict: 'too short', slope: 0, growth: 0, z: 0 };

describe('bench/churn', () => {
  it('names the measures that keep growing', () => {
    const of = (trends: ChurnResult['trends']): string => verdictOf({ trends });
    assert.match(of({ memory: STEADY, files: STEADY, store: STEADY }), /do not keep growing/);
    const grows = of({ memory: GROWS, files: STEADY, store: SHORT });
    assert.equal(grows, 'verdict: keeps growing: memory (25 % over the second half)');
    assert.match(
      of({ memory: STEADY, files: SHORT, store: STEADY }),
      /none, the run was too short: open files/,
    );
  });

  it('shows first, middle, last and most of each measure', () => {
    const series = {
      mean: [
        [0, MIB],
        [1, 2 * MIB],
        [2, 3 * MIB],
      ],
      most: [[0, 5 * MIB]],
    } as never;
    const result = {
      series: { memory: series, files: series, store: series },
      trends: { memory: GROWS, files: STEADY, store: STEADY },
    } as Partial<ChurnResult> as ChurnResult;
    assert.deepEqual(churnRows(result)[1], [
      'memory',
      '1.0 MiB',
      '2.0 MiB',
      '3.0 MiB',
      '5.0 MiB',
      '25.0 %',
      '9.0',
      'grows',
    ]);
  });

  it('refuses a quota that holds all images, or not one', () => {
    assert.equal(contradiction(SETTINGS), undefined);
    assert.match(contradiction({ ...SETTINGS, quota: 280 * MIB }) ?? '', /never be in force/);
    assert.match(contradiction({ ...SETTINGS, quota: 6 * MIB }) ?? '', /does not hold/);
  });

  it('lets half of the nodes stay, at least one', () => {
    assert.equal(stayers(SETTINGS), 5);
    assert.equal(stayers({ ...SETTINGS, nodes: 3 }), 2);
  });

  it("picks by Zipf's law", () => {
    const [zipf, random] = [new Zipf(4, 1), new SeededRandom(1)];
    const counts = [0, 0, 0, 0];
    for (let draw = 0; draw < 25_000; draw++) {
      const picked = zipf.pick(random.next());
      counts[picked] = (counts[picked] ?? 0) + 1;
    }
    // 12/25, 6/25, 4/25, 3/25
    const expected = [12_000, 6000, 4000, 3000];
    for (const [index, count] of counts.entries()) {
      assert.ok(Math.abs(count - (expected[index] ?? 0)) < 400, `${index}: ${count}`);
    }
    assert.equal(zipf.pick(0), 0);
    assert.equal(zipf.pick(0.999_999_999_999), 3);
  });

  it('adds up the files of a folder and its subfolders', async () => {
    await using dir = await TempDir.create('store');
    await mkdir(dir.join('a'));
    await writeFile(dir.join('one'), 'x'.repeat(10));
    await writeFile(dir.join('a', 'two'), 'x'.repeat(5));
    assert.equal(await bytesBelow(dir.path), 15);
    assert.equal(await bytesBelow(dir.join('none')), 0);
  });
});
