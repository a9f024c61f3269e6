/** `make test-registries SEED=N COUNT=N`: see CONTRIBUTING.md. */
import { SECOND } from '../../src/util/clock.ts';
import { compareAll } from './compare.ts';

const seed = Number(process.env['SEED'] || Date.now() % 1_000_000);
const count = Number(process.env['COUNT'] || 2000);
const { cases, failDirectly, pastMirror, problems } = await compareAll(seed, count, {
  isShrunk: process.env['SHRINK'] !== '0',
  allowance: 5 * SECOND,
  found: (problem) => console.log(problem),
});
console.log(
  `${cases} cases from seed ${seed}: ${problems.length} fail, ${failDirectly} fail directly, ${pastMirror} go past the mirror`,
);
process.exit(problems.length === 0 ? 0 : 1);
