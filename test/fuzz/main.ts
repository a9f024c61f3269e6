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
      'Gives each reader of what strangers send inputs that nobody would write. An input that is neither taken nor ' +
        `refused properly, or takes too long, goes to ${FOUND}; once mended it belongs into test/fuzz/corpus/TARGET/.`,
    )
    .addOption(
      new Option('--target <NAME>', 'only this one').choices(TARGETS.map((target: Target) => target.name)),
    )
    .addOption(
      new Option('--seconds <N>', 'how long in all, instead of --runs').argParser(number(MAX_SECONDS)),
    )
    .addOption(new Option('--runs <N>', 'inputs in all').argParser(number(MAX_RUNS)).default(DEFAULT_RUNS))
    .addOption(
      new Option('--seed <N>', 'of all chance')
        .argParser(number(2 ** 31))
        .default(Date.now() % 1e6, 'the time'),
    )
    .option('--no-guided', 'not led by coverage, as in `make test`')
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
