/** The figures of `bench node`, as JSON and as a table for people, with the targets beside them. Pure. */
import { GIB } from '../../src/util/clock.ts';
import type { ProfileSummary } from '../support/cpu-profile.ts';
import type { Machine } from '../support/machine.ts';
import type { Pair } from '../../test/simulator/stats.ts';
import { formatSpread, formatTable, type Row } from '../support/table.ts';
import type { ColdReport } from './cold.ts';
import { lateRows, type LateReport } from './late-figures.ts';
import type { LatencyFigures, Sides } from './latency.ts';
import type { MemoryFigures } from './memory.ts';
import type { ProfileReport } from './profile.ts';
import { coldName, verdict, type Target } from './targets.ts';
import type { WarmFigures } from './warm.ts';

export interface Figures {
  readonly cold?: ColdReport;
  readonly warm?: WarmFigures;
  readonly memory?: MemoryFigures;
  readonly latency?: LatencyFigures;
  readonly late?: LateReport;
  readonly profile?: ProfileReport;
}

export interface NodeReport extends Figures {
  readonly question: 'node';
  /** ISO 8601. */
  readonly startedAt: string;
  readonly repeat: number;
  readonly machine: Machine;
  /** Share of the CPU time that the hypervisor gave to others meanwhile, 0 to 1. */
  readonly stolen: number;
  readonly targets: readonly Target[];
}

export function renderReport(report: NodeReport): string {
  const { cold, warm, memory, latency, late, profile, targets } = report;
  const rows: Row[] = [];
  if (cold !== undefined) rows.push(...coldRows(cold, targets));
  if (warm !== undefined) rows.push(...warmRows(warm, targets));
  if (memory !== undefined) rows.push(...memoryRows(memory, targets));
  if (latency !== undefined) rows.push(...latencyRows(latency, targets));
  if (late !== undefined) rows.push(...lateRows(late, targets));
  const parts = [describe(report), formatTable(rows)];
  for (const setup of cold?.leftOut ?? []) parts.push(`left out: cold pull, ${setup}`);
  if (profile !== undefined) {
    parts.push(renderProfile('cold pull', profile.cold), renderProfile('warm reads', profile.warm));
  }
  return `${parts.join('\n\n')}\n`;
}

function describe({ machine, stolen, repeat, startedAt }: NodeReport): string {
  const { cpu, cores, memory, kernel, node, programs, loadBefore } = machine;
  const versions = Object.entries(programs).map(([name, version]) => `${name} ${version}`);
  const facts = [cpu, `${cores} cores`, `${(memory / GIB).toFixed(1)} GiB`, kernel, `Node.js ${node}`];
  return [
    `One node, ${startedAt}: medians of ${repeat} turns (lowest–highest)`,
    [
      ...facts,
      ...versions,
      `load before ${loadBefore.toFixed(2)}`,
      `stolen by other machines ${(stolen * 100).toFixed(1)} %`,
    ].join(', '),
  ].join('\n');
}

function coldRows({ setups }: ColdReport, targets: readonly Target[]): readonly Row[] {
  const rows: Row[] = [['COLD PULL, 4 × 64 MiB', 'direct', 'weir', 'weir / direct', 'target']];
  for (const { setup, seconds, nodeCpu } of setups) {
    rows.push(
      [`${setup}, s`, ...pairCells(seconds, 2), verdict(targets, coldName(setup))],
      ['  CPU of the node, s/GiB', '', formatSpread(nodeCpu, 2)],
    );
  }
  return [...rows, []];
}

function warmRows(
  { rate, cpu, serverBusy, readerBusy }: WarmFigures,
  targets: readonly Target[],
): readonly Row[] {
  return [
    ['WARM HIT, 1 GiB', 'nginx', 'weir', 'weir / nginx', 'target'],
    ['throughput, MiB/s', ...pairCells(rate, 0), verdict(targets, 'warm hit')],
    ['CPU of the server, s/GiB', ...pairCells(cpu, 2)],
    ['cores that the server kept busy', ...pairCells(serverBusy, 2)],
    ['cores that the reader kept busy', ...pairCells(readerBusy, 2)],
    [],
  ];
}

function memoryRows(
  { idle, cold, warm, idleAgain }: MemoryFigures,
  targets: readonly Target[],
): readonly Row[] {
  return [
    ['RESIDENT MEMORY, MiB', '', 'weir', '', 'target'],
    ['idle', '', formatSpread(idle, 0), '', verdict(targets, 'idle memory, MiB')],
    [
      'most during 8 cold pulls of 64 MiB',
      '',
      formatSpread(cold, 0),
      '',
      verdict(targets, 'memory of 8 pulls, MiB'),
    ],
    ['most during 8 warm reads of 64 MiB', '', formatSpread(warm, 0)],
    ['idle again', '', formatSpread(idleAgain, 0)],
    [],
  ];
}

function latencyRows(
  { hitSmall, hitLarge, miss }: LatencyFigures,
  targets: readonly Target[],
): readonly Row[] {
  return [
    ['FIRST BYTE, ms, p50 / p99', 'nginx', 'weir', '', 'target of p50'],
    [...sidesRow('hit, 1 KiB', hitSmall), '', verdict(targets, 'first byte of a hit, ms')],
    sidesRow('hit, 1 GiB', hitLarge),
    ['', 'registry', 'weir'],
    sidesRow('miss, until 404', miss),
    [],
  ];
}

function sidesRow(name: string, { reference, weir }: Sides): Row {
  return [name, ...[reference, weir].map(({ p50, p99 }) => `${p50.toFixed(2)} / ${p99.toFixed(2)}`)];
}

function pairCells({ reference, weir, ratio }: Pair, digits: number): readonly string[] {
  return [formatSpread(reference, digits), formatSpread(weir, digits), formatSpread(ratio, 2)];
}

function renderProfile(name: string, { busyMilliseconds, idleMilliseconds, top }: ProfileSummary): string {
  const times = `${Math.round(busyMilliseconds)} ms busy, ${Math.round(idleMilliseconds)} ms idle`;
  const rows = top.map(({ name: call, place, milliseconds, share }) => [
    `${(share * 100).toFixed(1).padStart(5)} %`,
    `${milliseconds.toFixed(0)} ms`,
    `${call}  ${place}`,
  ]);
  return `PROFILE of the main thread, ${name} (${times}), time in the function itself\n${formatTable(rows)}`;
}
