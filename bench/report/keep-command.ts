/** `bench keep`: makes a kept result of a report. bench/results/README.md says what one is. */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { InvalidArgumentError, type Command } from 'commander';
import { runOk } from '../../test/support/program.ts';
import { keepReport } from './keep.ts';
import { keptFile } from './kept.ts';

interface Flags {
  readonly as: string;
  readonly commit?: string;
  readonly version: Readonly<Record<string, string>>;
}

export function addKeep(program: Command): void {
  program
    .command('keep')
    .summary('Keeps a report for the tables of docs/benchmarks.md')
    .description(
      'Trims a report.json and writes it to bench/results/NAME.json. `npm run docs` then writes the tables anew.',
    )
    .argument('<REPORT>', 'path of the report.json')
    .requiredOption('--as <NAME>', 'of the kept result', parseName)
    .option('--commit <HASH>', 'that was measured (default: HEAD)')
    .option('--version <PROGRAM=VERSION>', 'of a program that does not tell it; repeatable', addVersion, {})
    .action(keep);
}

async function keep(report: string, { as: name, commit, version: versions }: Flags): Promise<void> {
  const measured = commit ?? (await runOk('git', ['rev-parse', '--short', 'HEAD'])).trim();
  const json = JSON.parse(await readFile(report, 'utf8')) as Readonly<Record<string, unknown>>;
  const file = keptFile(name);
  await writeFile(file, keepReport(json, { commit: measured, versions }, report));
  console.log(`written: ${fileURLToPath(file)}`);
}

function parseName(text: string): string {
  if (/^[a-z0-9-]{1,64}$/.test(text)) return text;
  throw new InvalidArgumentError('It has other signs than a to z, 0 to 9 and -.');
}

function addVersion(text: string, before: Flags['version']): Flags['version'] {
  const [, program, version] = /^([a-z-]+)=(\S+)$/.exec(text) ?? [];
  if (program === undefined || version === undefined) {
    throw new InvalidArgumentError('Write PROGRAM=VERSION.');
  }
  return { ...before, [program]: version };
}
