/** A short run of each target with one seed. It replays all of `corpus/` first, so that fixed bugs stay fixed. */
import assert from 'node:assert/strict';
import { corpora, FOUND } from './harness/corpus.ts';
import { fuzz } from './harness/fuzz.ts';
import { TARGETS } from './targets/index.ts';

/** Inputs of all targets together; half a minute on two cores. `make fuzz` runs a million. */
const RUNS = 50_000;
const SEED = 1;

const shares = TARGETS.reduce((sum, { share }) => sum + share, 0);

describe('fuzzing', () => {
  for (const target of TARGETS) {
    it(`${target.name}: no input crashes it, takes too long, or fills memory`, async () => {
      const runs = Math.ceil((RUNS * target.share) / shares);
      const { findings, inputs } = await fuzz(target, {
        seed: SEED,
        runs,
        folder: FOUND,
        isGuided: false,
        timeFactor: 5, // quadratic time shows in a longer run
      });
      const problems = findings.map(({ problem, file = '' }) => `${file} ${problem.slice(0, 2000)}`);
      assert.deepEqual(problems, []);
      assert.ok(inputs >= runs);
    });
  }

  it('has a target for each folder of the corpus', () => {
    const names = new Set(TARGETS.map(({ name }) => name));
    assert.equal(names.size, TARGETS.length, 'two targets have one name');
    assert.deepEqual(
      corpora().filter((name) => !names.has(name)),
      [],
    );
  });
});
