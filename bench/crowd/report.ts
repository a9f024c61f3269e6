/** What a run of `bench crowd` came to, for people: a column for each system. Pure. */
import { formatBytes } from '../../src/client/format.ts';
import type { Machine } from '../support/machine.ts';
import { percentile } from '../support/stats.ts';
import { formatTable, type Row } from '../support/table.ts';
import type { CrowdSettings } from './options.ts';
import type { CrowdResult } from './result.ts';

/** Above it, figures of time say more about the machine than about the system. */
export const MAX_BUSY = 0.85;
const MAX_STOLEN = 0.03;
/** Failures that are shown; all are in report.json. */
const SHOWN_FAILURES = 10;

export interface CrowdReport {
  readonly question: 'crowd';
  readonly startedAt: string;
  readonly machine: Machine;
  readonly settings: Omit<CrowdSettings, 'link' | 'registry' | 'start'> & {
    readonly link: string;
    readonly registry: string;
    readonly start: string;
    readonly shaped: boolean;
  };
  readonly warnings: readonly string[];
  readonly results: readonly CrowdResult[];
}

export function warningsOf(settings: CrowdSettings, results: readonly CrowdResult[]): readonly string[] {
  const warnings: string[] = [];
  if (settings.loopback) {
    warnings.push('loopback: no link was shaped, so times and their lower bound mean nothing');
  }
  for (const { system, turn, cpu_busy, cpu_stolen } of results) {
    if (cpu_busy > MAX_BUSY) {
      const share = `${Math.round(cpu_busy * 100)} %`;
      warnings.push(`${system}, turn ${turn}: the CPU was ${share} busy, and may have been the bound`);
    }
    if (cpu_stolen > MAX_STOLEN) {
      const share = `${Math.round(cpu_stolen * 100)} %`;
      warnings.push(`${system}, turn ${turn}: the hypervisor took ${share} of the CPU for others`);
    }
  }
  return warnings;
}

export function renderCrowd({ settings, machine, results, warnings }: CrowdReport): string {
  const systems = settings.systems.map((system) => results.filter((result) => result.system === system));
  const rows = FIGURES.map(([name, format]): Row => [name].concat(systems.map(format), ''));
  const links = settings.shaped ? `links ${settings.link}, registry ${settings.registry}` : 'loopback';
  const size = formatBytes(results[0]?.image_bytes ?? 0);
  const head = [
    `crowd of ${settings.nodes} nodes: an image of ${size}, ${links}, start ${settings.start}`,
    `${machine.cores} cores (${machine.cpu}), runtime ${settings.runtime}, median (lowest–highest) of ${settings.repeat}`,
  ];
  const failed = results.flatMap(({ system, turn, failure_reasons }) =>
    failure_reasons.map(({ node, reason }) => `FAILED ${system}, turn ${turn}, ${node}: ${reason}`),
  );
  const table = formatTable([['', ...settings.systems, ''], ...rows]);
  return [
    ...head,
    '',
    table,
    '',
    ...failed.slice(0, SHOWN_FAILURES),
    ...warnings.map((warning) => `WARNING ${warning}`),
    ...compare(settings.systems[0], systems),
    '',
  ].join('\n');
}

type Turns = readonly CrowdResult[];

const seconds = (value: number): string => value.toFixed(1);
const ratio = (value: number): string => value.toFixed(3);
const percent = (value: number): string => `${Math.round(value * 100)} %`;

const FIGURES: readonly (readonly [name: string, format: (turns: Turns) => string])[] = [
  ['lower bound, s', spreadOf((turn) => turn.lower_bound_s, seconds)],
  ['makespan, s', spreadOf((turn) => turn.makespan_s, seconds)],
  [
    '  over the bound',
    spreadOf(
      (turn) => turn.makespan_ratio,
      (value) => value.toFixed(2),
    ),
  ],
  ['p50, s', spreadOf((turn) => turn.p50_s, seconds)],
  ['p99, s', spreadOf((turn) => turn.p99_s, seconds)],
  ['p50 of later waves, s', spreadOf((turn) => turn.later_p50_s, seconds)],
  [
    'first byte p50, s',
    spreadOf(
      (turn) => turn.first_byte_p50_s,
      (value) => value.toFixed(2),
    ),
  ],
  ['registry bytes, images', spreadOf((turn) => turn.registry_ratio, ratio)],
  [
    '  on its wire',
    spreadOf(
      (turn) => (turn.registry_wire_bytes === null ? null : turn.registry_wire_bytes / turn.image_bytes),
      ratio,
    ),
  ],
  ['registry requests', spreadOf((turn) => turn.registry_requests, String)],
  ['bytes from peers', spreadOf((turn) => sum(turn, ({ bytes }) => bytes.peers), formatBytes)],
  ['bytes across zones', spreadOf((turn) => turn.cross_zone_bytes, formatBytes)],
  [
    'CPU s per GiB',
    spreadOf(
      (turn) => turn.cpu_s_per_gib,
      (value) => value.toFixed(2),
    ),
  ],
  ['CPU of the machine', spreadOf((turn) => turn.cpu_busy, percent)],
  ['memory, idle node', spreadOf((turn) => turn.rss_idle_bytes, formatBytes)],
  ['memory, largest', spreadOf((turn) => turn.rss_max_bytes, formatBytes)],
  ['connections, most', spreadOf((turn) => turn.connections_max, String)],
  ['until ready, s', spreadOf((turn) => turn.start_s, seconds)],
  ['  until all are known, s', spreadOf((turn) => turn.known_s, seconds)],
  ['died as planned', spreadOf((turn) => turn.died, String)],
  ['failures', (turns) => String(turns.reduce((total, turn) => total + turn.failures, 0))],
];

function spreadOf(
  pick: (turn: CrowdResult) => number | null,
  format: (value: number) => string,
): (turns: Turns) => string {
  return (turns) => {
    const values = turns.map((turn) => pick(turn)).filter((value) => value !== null);
    if (values.length === 0) return '–';
    const [median, low, high] = [percentile(values, 50), Math.min(...values), Math.max(...values)].map(
      format,
    );
    return low === high ? String(median) : `${median} (${low}–${high})`;
  };
}

/** Each other system's makespan and registry bytes against the first one's. */
function compare(first: string | undefined, systems: readonly Turns[]): readonly string[] {
  const [reference, ...others] = systems;
  if (reference === undefined || others.length === 0) return [];
  const median = (turns: Turns, pick: (turn: CrowdResult) => number): number =>
    percentile(
      turns.map((turn) => pick(turn)),
      50,
    );
  return others.map((turns) => {
    const time = median(turns, (turn) => turn.makespan_s) / median(reference, (turn) => turn.makespan_s);
    const p50 = median(turns, (turn) => turn.p50_s) / median(reference, (turn) => turn.p50_s);
    const bytes =
      median(turns, (turn) => turn.registry_bytes) / median(reference, (turn) => turn.registry_bytes);
    const name = turns[0]?.system ?? '';
    return `${name} / ${first}: makespan ${ratio(time)}, p50 ${ratio(p50)}, registry bytes ${ratio(bytes)}`;
  });
}

function sum(turn: CrowdResult, pick: (node: CrowdResult['per_node'][number]) => number): number {
  return turn.per_node.reduce((total, node) => total + pick(node), 0);
}
