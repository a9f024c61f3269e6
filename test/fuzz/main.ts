/** `npm run fuzz -- [--target NAME] [--seconds N] [--seed N] [--runs N]`: see CONTRIBUTING.md. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { formatTable } from '../../bench/support/table.ts';
import { FOUND } from './harness/corpus.ts';
import { fuzz, type Outcome } from './harness/fuzz.ts';
import type { Target } from './harness/target.ts';
import { TARGETS } from './targets/index.ts';

/** Inputs of all targets together. */
const DEFAULT_RUNS = 1_000_000;
const MAX_RUNS = 1_000_000_000;
const MAX_SECONDS = 7 * 24 * 3600;
const MIB = 1024 * 1024;

interface Flags {
  readonly target?: string;
  readonly seconds?: number;
  readonly seed: number;
  readonly runs: number;
  readonly guided: boolean;
}

const { target: name, seconds, seed, runs, guided: isGuided } = readFlags();
const chosen = TARGETS.filter((target) => name === undefined || target.name === name);
const shares = chosen.reduce((sum, { share }) => sum + share, 0);
const outcomes: Outcome[] = [];
for (const target of chosen) {
  const until = seconds === undefined ? undefined : performance.now() + (seconds * 1000) / chosen.length;
  const count = seconds === undefined ? Math.ceil((runs * target.share) / shares) : MAX_RUNS;
  const outcome = await fuzz(target, { seed, runs: count, until, folder: FOUND, isGuided });
  outcomes.push(outcome);
  console.error(`${outcome.target}: ${outcome.inputs} inputs in ${outcome.seconds.toFixed(1)} s`);
  for (const { problem, file } of outcome.findings) console.error(`\nFOUND ${file ?? ''}\n${problem}\n`);
}
console.log(tableOf(outcomes));
if (outcomes.some(({ findings }) => findings.length > 0)) process.exitCode = 1;

function readFlags(): Flags {
  return new Command('fuzz')
    .description(
      'Feeds mutated inputs to each function that reads the bytes of strangers. An input that crashes it or takes too ' +
        `long is written to ${FOUND}. After the fix, move it to test/fuzz/corpus/TARGET/.`,
    )
    .addOption(
      new Option('--target <NAME>', 'run only this target').choices(
        TARGETS.map((target: Target) => target.name),
      ),
    )
    .addOption(new Option('--seconds <N>', 'total time, instead of --runs').argParser(number(MAX_SECONDS)))
    .addOption(
      new Option('--runs <N>', 'total number of inputs').argParser(number(MAX_RUNS)).default(DEFAULT_RUNS),
    )
    .addOption(
      new Option('--seed <N>', 'seed of the random choices')
        .argParser(number(2 ** 31))
        .default(Date.now() % 1e6, 'the time'),
    )
    .option('--no-guided', 'ignore coverage, as `make test` does')
    .parse()
    .opts<Flags>();
}

function number(max: number): (text: string) => number {
  return (text) => {
    if (/^[0-9]{1,10}$/.test(text) && Number(text) <= max) return Number(text);
    throw new InvalidArgumentError(`It is not a whole number up to ${max}.`);
  };
}

function tableOf(all: readonly Outcome[]): string {
  const rows = all.map(({ target, inputs, seconds: took, slowest, before, after, findings }) => [
    target,
    String(inputs),
    took.toFixed(1),
    slowest.toFixed(1),
    (before / MIB).toFixed(1),
    (after / MIB).toFixed(1),
    String(findings.length),
  ]);
  const sum = (of: (outcome: Outcome) => number): number => all.reduce((total, each) => total + of(each), 0);
  const total = [
    'all',
    String(sum(({ inputs }) => inputs)),
    sum(({ seconds: took }) => took).toFixed(1),
    '',
    '',
    '',
  ];
  const head = ['target', 'inputs', 'seconds', 'slowest ms', 'MiB before', 'MiB after', 'findings'];
  return formatTable([head, ...rows, [], [...total, String(sum(({ findings }) => findings.length))]]);
}
