/** The figures as a table for people: medians of the turns, one row for each system and number of nodes. Pure. */
import { MIB } from '../../src/util/clock.ts';
import { formatTable, type Row } from '../support/table.ts';
import { groupResults, medianOf, type Group } from './group.ts';
import type { BenchReport } from './report.ts';
import type { BenchResult, Failure } from './result.ts';

const HEAD: Row = [
  'system',
  'nodes',
  'turns',
  'bound s',
  'makespan s',
  'ratio',
  'p50 s',
  'p99 s',
  'first byte s',
  'registry MiB',
  'ratio',
  'requests',
  'other zone MiB',
  'connections',
  'CPU s/GiB',
  'RSS MiB',
  'failures',
];

/** Reasons that are shown; the rest is in report.json. */
const MAX_REASONS = 5;

/** Rows of figures under their heads, for text and for the page. */
export function figureRows(results: readonly BenchResult[]): readonly Row[] {
  return [HEAD, ...groupResults(results).map((group) => figureRow(group))];
}

function figureRow(group: Group): Row {
  const of = (figure: (result: BenchResult) => number, digits: number): string =>
    medianOf(group, figure).toFixed(digits);
  const ofSome = (figure: (result: BenchResult) => number | null, digits: number): string =>
    group.turns.some((turn) => figure(turn) === null) ? '-' : of((turn) => figure(turn) ?? 0, digits);
  return [
    group.system,
    String(group.nodes),
    String(group.turns.length),
    of((turn) => turn.lower_bound_s, 2),
    of((turn) => turn.makespan_s, 2),
    of((turn) => turn.makespan_ratio, 3),
    of((turn) => turn.p50_s, 2),
    of((turn) => turn.p99_s, 2),
    ofSome((turn) => turn.first_byte_p50_s, 3),
    of((turn) => turn.registry_bytes / MIB, 1),
    of((turn) => turn.registry_ratio, 3),
    of((turn) => turn.registry_requests, 0),
    of((turn) => turn.cross_zone_bytes / MIB, 0),
    of((turn) => turn.connections_max, 0),
    ofSome((turn) => turn.cpu_s_per_gib, 2),
    ofSome((turn) => (turn.rss_max_bytes === null ? null : turn.rss_max_bytes / MIB), 0),
    String(group.turns.reduce((sum, { failures }) => sum + failures, 0)),
  ];
}

export function renderTable(report: BenchReport): string {
  const lines = [formatTable(figureRows(report.results))];
  for (const line of ratioLines(report.results)) lines.push(line);
  for (const line of failureLines(report.results)) lines.push(line);
  for (const warning of report.warnings) lines.push(`warning: ${warning}`);
  return `${lines.join('\n')}\n`;
}

/** Each system against the first one, where there are several with the same number of nodes. */
export function ratioLines(results: readonly BenchResult[]): readonly string[] {
  const groups = groupResults(results);
  return groups.flatMap((group) => {
    const first = groups.find(({ nodes }) => nodes === group.nodes);
    if (first === undefined || first === group) return [];
    const over = (figure: (result: BenchResult) => number): string =>
      (medianOf(group, figure) / medianOf(first, figure)).toFixed(3);
    const makespan = over((turn) => turn.makespan_s);
    const p50 = over((turn) => turn.p50_s);
    const bytes = over((turn) => turn.registry_bytes);
    return [`${group.label} over ${first.label}: makespan ${makespan}, p50 ${p50}, registry bytes ${bytes}`];
  });
}

export function failureLines(results: readonly BenchResult[]): readonly string[] {
  return results.flatMap(({ system, turn, failure_reasons: reasons }) =>
    reasonLines(`failed: ${system}, turn ${turn}`, reasons),
  );
}

/** The first few, and how many more there are. */
export function reasonLines(what: string, reasons: readonly Failure[]): readonly string[] {
  const lines = reasons.slice(0, MAX_REASONS).map(({ node, reason }) => `${what}, ${node}: ${reason}`);
  const left = reasons.length - lines.length;
  return left > 0 ? [...lines, `${what}: ${left} more, see report.json`] : lines;
}
