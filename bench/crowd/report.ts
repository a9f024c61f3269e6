/** The report of a run of `bench crowd`, and a table for people with a column for each system. Pure. */
import { formatBytes } from '../../src/cli/client/format.ts';
import type { BenchReport } from '../report/report.ts';
import { failureLines, ratioLines, reasonLines } from '../report/table.ts';
import type { Machine } from '../support/machine.ts';
import { percentile } from '../../test/simulator/stats.ts';
import { formatTable, type Row } from '../support/table.ts';
import { formatStart, type CrowdSettings } from './options.ts';
import type { CrowdResult } from './result.ts';

/** Above this share of CPU, times say more about the machine than about the system. */
export const MAX_BUSY = 0.85;
const MAX_STOLEN = 0.03;

export interface CrowdReport extends BenchReport {
  readonly question: 'crowd';
  readonly results: readonly CrowdResult[];
}

export function reportOf(
  startedAt: string,
  machine: Machine,
  settings: CrowdSettings,
  results: readonly CrowdResult[],
): CrowdReport {
  const { loopback, link, registry, start, logLevel, binaries, ...rest } = settings;
  return {
    question: 'crowd',
    startedAt,
    machine,
    settings: {
      ...rest,
      link: loopback ? null : link.text,
      registry: loopback ? null : registry.text,
      start: formatStart(start),
      loopback,
      'log-level': logLevel,
      'spegel-bin': binaries.spegel ?? null,
      'dragonfly-bin-dir': binaries.dragonfly ?? null,
      'kraken-bin-dir': binaries.kraken ?? null,
    },
    versions: Object.assign({ node: process.version }, ...results.map(({ versions }) => versions)),
    warnings: warningsOf(settings, results),
    results,
  };
}

export function warningsOf(settings: CrowdSettings, results: readonly CrowdResult[]): readonly string[] {
  const warnings: string[] = [];
  const percents = (share: number): string => `${Math.round(share * 100)} %`;
  if (settings.loopback) {
    warnings.push('loopback: no link was shaped, so times and their lower bound mean nothing');
  }
  for (const { system, turn, failures, cpu_busy, cpu_stolen } of results) {
    const which = `${system}, turn ${turn}`;
    if (failures > 0) warnings.push(`${which}: p50 and p99 leave ${failures} pulls out that failed`);
    if (cpu_busy > MAX_BUSY) {
      warnings.push(`${which}: the CPU was ${percents(cpu_busy)} busy, and may have been the bound`);
    }
    if (cpu_stolen > MAX_STOLEN) {
      warnings.push(`${which}: the hypervisor took ${percents(cpu_stolen)} of the CPU for others`);
    }
  }
  return warnings;
}

export function renderCrowd(report: CrowdReport): string {
  const { settings, machine, results, warnings } = report;
  const { nodes, link, registry, start, runtime, repeat } = settings;
  const links = link === null ? 'loopback' : `links ${String(link)}, registry ${String(registry)}`;
  const size = formatBytes(results[0]?.image_bytes ?? 0);
  return [
    `crowd of ${String(nodes)} nodes: an image of ${size}, ${links}, start ${String(start)}`,
    `${machine.cores} cores (${machine.cpu}), runtime ${String(runtime)}, median (lowest–highest) of ${String(repeat)}`,
    '',
    formatTable(crowdRows(results).map((row) => row.concat(''))),
    '',
    ...failureLines(results),
    ...fallbackLines(results),
    ...warnings.map((warning) => `WARNING ${warning}`),
    ...ratioLines(results),
    '',
  ].join('\n');
}

function fallbackLines(results: readonly CrowdResult[]): readonly string[] {
  return results.flatMap(({ system, turn, fallback_reasons: reasons }) =>
    reasonLines(`past the mirror: ${system}, turn ${turn}`, reasons),
  );
}

/** A row for each figure, a column for each system. */
export function crowdRows(results: readonly CrowdResult[]): readonly Row[] {
  const systems = [...new Set(results.map(({ system }) => system))];
  const turns = systems.map((system) => results.filter((result) => result.system === system));
  return [['', ...systems], ...FIGURES.map(([name, format]): Row => [name].concat(turns.map(format)))];
}

type Turns = readonly CrowdResult[];

const tenths = (value: number): string => value.toFixed(1);
const hundredths = (value: number): string => value.toFixed(2);
const thousandths = (value: number): string => value.toFixed(3);
const percent = (value: number): string => `${Math.round(value * 100)} %`;

const FIGURES: readonly (readonly [name: string, format: (turns: Turns) => string])[] = [
  ['lower bound, s', spreadOf((turn) => turn.lower_bound_s, tenths)],
  [
    'makespan, s',
    spreadOf(
      timed((turn) => turn.makespan_s),
      tenths,
    ),
  ],
  [
    '  over the bound',
    spreadOf(
      timed((turn) => turn.makespan_ratio),
      hundredths,
    ),
  ],
  [
    'p50, s',
    spreadOf(
      timed((turn) => turn.p50_s),
      tenths,
    ),
  ],
  [
    'p99, s',
    spreadOf(
      timed((turn) => turn.p99_s),
      tenths,
    ),
  ],
  ['p50 of later waves, s', spreadOf((turn) => turn.later_p50_s, tenths)],
  ['first byte p50, s', spreadOf((turn) => turn.first_byte_p50_s, hundredths)],
  ['registry bytes, images', spreadOf((turn) => turn.registry_ratio, thousandths)],
  ['  on its wire', spreadOf(wireRatio, thousandths)],
  ['registry requests', spreadOf((turn) => turn.registry_requests, String)],
  ['  past the mirrors', spreadOf((turn) => turn.fallback_requests, String)],
  ['registry connections, most', spreadOf((turn) => turn.registry_connections_max, String)],
  ['bytes from others', spreadOf((turn) => sum(turn, ({ bytes }) => bytes.peers), formatBytes)],
  ['  on links, for each of content', spreadOf((turn) => turn.link_ratio, thousandths)],
  ['bytes across zones', spreadOf((turn) => turn.cross_zone_bytes, formatBytes)],
  ['CPU s per GiB', spreadOf((turn) => turn.cpu_s_per_gib, hundredths)],
  ['  on main threads of nodes', spreadOf((turn) => turn.main_cpu_s_per_gib, hundredths)],
  ['event loop late p99, worst node, ms', spreadOf((turn) => turn.loop_p99_ms, tenths)],
  ['CPU of the machine', spreadOf((turn) => turn.cpu_busy, percent)],
  ['memory, idle node', spreadOf((turn) => turn.rss_idle_bytes, formatBytes)],
  ['  shared with none', spreadOf((turn) => turn.private_idle_bytes, formatBytes)],
  ['memory, largest', spreadOf((turn) => turn.rss_max_bytes, formatBytes)],
  ['connections of a node, most', spreadOf((turn) => turn.connections_max, String)],
  ['until ready, s', spreadOf((turn) => turn.start_s, tenths)],
  ['  until all are known, s', spreadOf((turn) => turn.known_s, tenths)],
  ['  CPU s of all until then', spreadOf((turn) => turn.start_cpu_s, tenths)],
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

/** Empty if no pull arrived: a turn in which all soon gave up is not fast. */
function timed(pick: (turn: CrowdResult) => number): (turn: CrowdResult) => number | null {
  return (turn) => (turn.per_node.some(({ completed_s: at }) => at !== null) ? pick(turn) : null);
}

function wireRatio({ registry_wire_bytes: bytes, image_bytes: image }: CrowdResult): number | null {
  return bytes === null ? null : bytes / image;
}

function sum(turn: CrowdResult, pick: (node: CrowdResult['per_node'][number]) => number): number {
  return turn.per_node.reduce((total, node) => total + pick(node), 0);
}
