/** What kept results were made from: the command, the machine, the day, the commit. */
import type { Kept } from '../../bench/report/kept.ts';
import { formatSize } from '../../src/config/units.ts';
import { GIB } from '../../src/util/clock.ts';
import { table } from '../markdown.ts';

/** Options that a command is told with, in this order; with these values they go without saying. */
const OPTIONS: Readonly<Record<'crowd' | 'simulate' | 'churn', readonly string[]>> = {
  crowd: ['nodes', 'systems', 'runtime', 'layers', 'link', 'registry', 'start', 'pulled', 'repeat'],
  simulate: ['nodes', 'link', 'registry', 'cores'],
  churn: ['nodes', 'churn'],
};
const USUAL: Readonly<Record<string, unknown>> = { start: 'simultaneous', pulled: 0, runtime: 'fetch' };
/** Where the programs of a system are is for whoever repeats it to say. */
const PROGRAMS: Readonly<Record<string, string>> = {
  spegel: '--spegel-bin PATH',
  dragonfly: '--dragonfly-bin-dir DIR',
  kraken: '--kraken-bin-dir DIR',
};

export interface Source {
  /** Of the kept result. */
  readonly name: string;
  readonly result: Kept;
}

export function sourceTable(sources: readonly Source[]): string {
  const rows = sources.map(({ name, result }, at) => {
    const machine = machineOf(result);
    const before = sources[at - 1];
    const isSame = before !== undefined && machineOf(before.result) === machine;
    return [
      `[${name}](../bench/results/${name}.json)`,
      `\`${commandOf(result)}\``,
      `${result.startedAt.slice(0, 10)}, ${result.commit}`,
      [isSame ? 'the same' : machine].concat(programsOf(result)).join(', '),
    ];
  });
  return table(['Result', 'Command', 'Day, commit', 'Machine, programs'], rows);
}

function machineOf({ machine: { cpu, cores, memory, kernel, node } }: Kept): string {
  return `${cpu}, ${cores} cores, ${(memory / GIB).toFixed(1)} GiB, ${kernel}, Node.js ${node}`;
}

/** Those that are no column of a table. */
function programsOf(result: Kept): readonly string[] {
  const containerd = 'versions' in result ? result.versions['containerd'] : undefined;
  const programs = Object.entries(result.machine.programs);
  if (containerd !== undefined) programs.push(['containerd', containerd]);
  return programs.map(([name, version]) => `${name} ${version}`);
}

/** What follows `npm run bench --`. */
export function commandOf(result: Kept): string {
  if (result.question === 'node' || result.question === 'transfer') {
    return `${result.question} --repeat ${result.repeat}`;
  }
  const { settings, question } = result;
  const options = OPTIONS[question].flatMap((name) => {
    const value = settings[name];
    if (value === undefined || value === null || value === USUAL[name]) return [];
    return `--${name} ${optionValue(value)}`;
  });
  const { systems } = settings;
  const named = Array.isArray(systems) ? systems.flatMap((system) => PROGRAMS[system] ?? []) : [];
  return [question === 'churn' ? 'simulate' : question, ...options, ...named].join(' ');
}

/** Numbers in a list are sizes. */
function optionValue(value: string | number | boolean | readonly (string | number)[]): string {
  if (typeof value !== 'object') return String(value);
  return value.map((each) => (typeof each === 'number' ? formatSize(each) : each)).join(',');
}
