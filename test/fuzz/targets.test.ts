/** A short run of each target, of one seed: all of `corpus/` first, so that what was once mended stays so. */
import assert from 'node:assert/strict';
import { corpora, FOUND } from './harness/corpus.ts';
import { fuzz } from './harness/fuzz.ts';
import { TARGETS } from './targets/index.ts';

/** Of all targets together; half a minute on two cores. `make fuzz` runs a million. */
const RUNS = 50_000;
const SEED = 1;

const shares = TARGETS.reduce((sum, { share }) => sum + share, 0);

describe('what strangers send', () => {
  for (const target of TARGETS) {
    it(`neither ends, nor holds up, nor fills ${target.name}`, async () => {
      const runs = Math.ceil((RUNS * target.share) / shares);
      const { findings, inputs } = await fuzz(target, {
        seed: SEED,
        runs,
        folder: FOUND,
        isGuided: false,
        slack: 5, // square time shows in a run at length
      });
      const told = findings.map(({ problem, file = '' }) => `${file} ${problem.slice(0, 2000)}`);
      assert.deepEqual(told, []);
      assert.ok(inputs >= runs);
    });
  }

  it('is kept for targets that there are', () => {
    const names = new Set(TARGETS.map(({ name }) => name));
    assert.equal(names.size, TARGETS.length, 'two targets have one name');
    assert.deepEqual(
      corpora().filter((name) => !names.has(name)),
      [],
    );
  });
});
