/**
 * Runs the tests of a suite in lanes: `node test/lanes.ts unit|security|e2e`.
 *
 * Most of them wait most of the time: for time-outs, for programs that start, for a registry that is slow. So several
 * processes of mocha run beside each other, each with a few files. The output of a process is printed whole when it ends, with
 * its counts and its failures. A process that ends early counts as one failure. A test that measures time, memory or CPU is in
 * test/alone.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { glob, readFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { runFolder } from './support/run-folder.ts';

interface Suite {
  /** Processes beside each other, for two cores: a process of unit tests uses a quarter of one, the others more. */
  readonly lanes: number;
  /** Files of one folder that one process runs: they share the cost of its start. */
  readonly files: number;
  /** Names of the files that take longest. They begin first, else the last lane runs on alone. */
  readonly first: readonly string[];
}

const SUITES: Readonly<Record<string, Suite>> = {
  unit: {
    lanes: 5,
    files: 6,
    first: [
      'misbehaving-peers',
      'registries-model',
      'abuse',
      'network',
      'peer-dial',
      'peer-garbage',
      'peer-threads',
    ],
  },
  security: { lanes: 3, files: 1, first: ['client-resets', 'service-reach', 'members-stay-together'] },
  e2e: { lanes: 3, files: 1, first: ['misbehaviour', 'order', 'image', 'node', 'crash'] },
};

/** The keys of a .mocharc.json that are used here. */
interface Config {
  readonly spec: readonly string[];
  readonly timeout: number;
  readonly slow?: number;
  readonly exit?: boolean;
}

const MOCHA: string = new URL('../node_modules/mocha/bin/mocha.js', import.meta.url).pathname;

/** Files that one process runs, in the order in which the processes start. */
function batchesOf(files: readonly string[], { files: most, first }: Suite): readonly (readonly string[])[] {
  const rank = (file: string): number => {
    const index = first.indexOf(basename(file, '.test.ts'));
    return index === -1 ? first.length : index;
  };
  const batches: string[][] = [];
  for (const file of files.toSorted((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))) {
    const last = batches.at(-1);
    const [other] = last ?? [];
    const fits = last !== undefined && other !== undefined && last.length < most;
    // A file that takes long has a process of its own.
    if (fits && dirname(other) === dirname(file) && rank(other) === first.length) last.push(file);
    else batches.push([file]);
  }
  return batches;
}

/** @returns whether all went well */
async function runBatch(files: readonly string[], { timeout, slow, exit }: Config): Promise<boolean> {
  const flags = ['--no-config', '--timeout', String(timeout)];
  if (slow !== undefined) flags.push('--slow', String(slow));
  if (exit === true) flags.push('--exit');
  const child = spawn(process.execPath, [MOCHA, ...flags, ...files], { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child.pid);
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => output.push(bytes));
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  running.delete(child.pid);
  const text = Buffer.concat(output).toString();
  const isWhole = /^ +\d+ passing/m.test(text);
  // As mocha writes it, so that test/run.sh and .ci/run count it.
  const early = `\n  1 failing\n\n  ${files.join(', ')}: mocha ended early, with ${signal ?? `code ${code}`}\n`;
  process.stdout.write(isWhole ? text : text + early);
  return code === 0 && isWhole;
}

const running = new Set<number | undefined>();

async function main(): Promise<boolean> {
  const [name = ''] = process.argv.slice(2);
  const suite = SUITES[name];
  if (suite === undefined) throw new Error(`there is no suite ${name}: ${Object.keys(SUITES).join(', ')}`);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      for (const pid of running) if (pid !== undefined) process.kill(pid, signal);
      process.exit(1);
    });
  }
  runFolder();
  const config = JSON.parse(await readFile(`test/${name}/.mocharc.json`, 'utf8')) as Config;
  const batches = batchesOf(await Array.fromAsync(glob(config.spec)), suite).values();
  let isFine = true;
  const lane = async (): Promise<void> => {
    for (const files of batches) isFine = (await runBatch(files, config)) && isFine;
  };
  await Promise.all(Array.from({ length: suite.lanes }, lane));
  return isFine;
}

process.exitCode = (await main()) ? 0 : 1;
