/** The result of a run of `bench churn`. Pure, but for the charts' library. */
import { MIB, SECOND } from '../../src/util/clock.ts';
import { formatBytes } from '../../src/cli/client/format.ts';
import { formatDuration } from '../../src/config/units.ts';
import { lineChart, type Chart } from '../report/charts.ts';
import type { ReportHead } from '../report/report.ts';
import type { Failure } from '../report/result.ts';
import { percentile } from '../../test/simulator/stats.ts';
import { formatTable, type Row } from '../support/table.ts';
import type { Tally } from './life.ts';
import type { ChurnSettings } from './options.ts';
import { judge, trendOf, type Trend } from './trend.ts';
import { MEASURES, type Measure, type Series } from './watch.ts';

/** Fields that other benches' results have too have their names; null if they say nothing here. */
export interface ChurnFigures {
  readonly system: 'weir';
  readonly nodes: number;
  readonly turn: 1;
  readonly seed: number;
  /** Bytes of one image. */
  readonly image_bytes: number;
  readonly lower_bound_s: null;
  /** Seconds that the run lasted. */
  readonly makespan_s: number;
  readonly makespan_ratio: null;
  /** Figures of the pulls that arrived; null if none did. */
  readonly p50_s: number | null;
  readonly p99_s: number | null;
  readonly registry_bytes: number;
  /** Share of the bytes of all pulls that arrived. */
  readonly registry_ratio: number | null;
  readonly registry_requests: number;
  readonly cpu_s_per_gib: null;
  readonly rss_max_bytes: number | null;
  readonly failures: number;
  readonly failure_reasons: readonly Failure[];
  readonly pulls: number;
  /** Pulls that ended because their node left. */
  readonly cut: number;
  readonly leaves: number;
  readonly kills: number;
}

export interface ChurnResult extends ChurnFigures {
  /** Measured on the nodes that never leave. */
  readonly trends: Readonly<Record<Measure, Trend>>;
  readonly series: Series;
}

export interface ChurnReport extends ReportHead {
  readonly question: 'churn';
  readonly results: readonly ChurnResult[];
}

const UNITS: Readonly<
  Record<Measure, { readonly name: string; readonly unit: string; readonly of: number }>
> = {
  memory: { name: 'memory', unit: 'MiB', of: MIB },
  files: { name: 'open files', unit: '', of: 1 },
  store: { name: 'store', unit: 'MiB', of: MIB },
};
const SHOWN_FAILURES = 5;

export function trendsOf(series: Series): Readonly<Record<Measure, Trend>> {
  return {
    memory: trendOf(series.memory.mean),
    files: trendOf(series.files.mean),
    store: trendOf(series.store.mean),
  };
}

/** Figures of a report, of nodes that churned really or in virtual time. */
export function figuresOf(
  settings: ChurnSettings,
  {
    pulls,
    cut,
    leaves,
    kills,
    failures,
  }: Readonly<Omit<Tally, 'pulls' | 'failures'>> & {
    readonly pulls: readonly number[];
    readonly failures: readonly Failure[];
  },
  registry: {
    readonly bytes: number;
    readonly requests: number;
    /** Bytes of all pulls that arrived. */
    readonly arrived: number;
  },
  rssMaxBytes: number | null,
): ChurnFigures {
  return {
    system: 'weir',
    nodes: settings.nodes,
    turn: 1,
    seed: settings.seed,
    image_bytes: settings.layers.reduce((sum, size) => sum + size, 0),
    lower_bound_s: null,
    makespan_s: settings.for / SECOND,
    makespan_ratio: null,
    p50_s: percentileOf(pulls, 50),
    p99_s: percentileOf(pulls, 99),
    registry_bytes: registry.bytes,
    registry_ratio: registry.arrived === 0 ? null : registry.bytes / registry.arrived,
    registry_requests: registry.requests,
    cpu_s_per_gib: null,
    rss_max_bytes: rssMaxBytes,
    failures: failures.length,
    failure_reasons: failures,
    pulls: pulls.length,
    cut,
    leaves,
    kills,
  };
}

/** One line that says whether anything keeps growing. */
export function verdictOf({ trends }: Pick<ChurnResult, 'trends'>): string {
  const { growing, unknown } = judge(MEASURES, trends);
  if (growing.length > 0) {
    const told = growing.map(
      (measure) =>
        `${UNITS[measure].name} (${Math.round(100 * trends[measure].growth)} % over the second half)`,
    );
    return `verdict: keeps growing: ${told.join(', ')}`;
  }
  if (unknown.length > 0) {
    return `verdict: none, the run was too short: ${unknown.map((measure) => UNITS[measure].name).join(', ')}`;
  }
  return 'verdict: memory, open files and store do not keep growing';
}

export function churnRows(result: ChurnResult): readonly Row[] {
  const rows = MEASURES.map((measure): Row => {
    const { name, unit, of } = UNITS[measure];
    const { mean, most } = result.series[measure];
    const values = mean.map(([, value]) => value / of);
    const show = (value: number): string => `${value.toFixed(of === 1 ? 0 : 1)} ${unit}`.trimEnd();
    const { growth, z, verdict } = result.trends[measure];
    return [
      name,
      show(values[0] ?? 0),
      show(values[values.length >> 1] ?? 0),
      show(values.at(-1) ?? 0),
      show(Math.max(0, ...most.map(([, value]) => value / of))),
      `${(100 * growth).toFixed(1)} %`,
      z.toFixed(1),
      verdict,
    ];
  });
  return [['', 'first', 'middle', 'last', 'most', 'second half', 'z', ''], ...rows];
}

export function churnLines(settings: ChurnSettings, result: ChurnResult): readonly string[] {
  const { nodes, failure_reasons: failed } = result;
  const ratio =
    result.registry_ratio === null ? '' : `, ${(100 * result.registry_ratio).toFixed(1)} % of them`;
  return [
    `churn of ${nodes} nodes for ${formatDuration(settings.for)}: ${settings.images} images of ` +
      `${formatBytes(result.image_bytes)}, a quota of ${formatBytes(settings.quota)}`,
    ...tallyLines(result),
    `the registry sent ${formatBytes(result.registry_bytes)}${ratio}`,
    ...failed.slice(0, SHOWN_FAILURES).map(({ node, reason }) => `failed: ${node}: ${reason}`),
  ];
}

/** The nodes that came and went, and the pulls that arrived. */
export function tallyLines(figures: ChurnFigures): readonly string[] {
  const { pulls, cut, leaves, kills, failures, p50_s: p50, p99_s: p99 } = figures;
  const times = p50 === null || p99 === null ? '' : `, p50 ${p50.toFixed(2)} s, p99 ${p99.toFixed(2)} s`;
  return [
    `${leaves} times a node left (${kills} of them killed) and joined again`,
    `${pulls} pulls arrived${times}; ${cut} were cut as their node left; ${failures} failed`,
  ];
}

export function renderChurn(settings: ChurnSettings, { results, warnings }: ChurnReport): string {
  return results
    .flatMap((result) => [
      ...churnLines(settings, result),
      '',
      'of the nodes that never left, means but for "most":',
      formatTable(churnRows(result)),
      '',
      ...warnings.map((warning) => `WARNING ${warning}`),
      verdictOf(result),
      '',
    ])
    .join('\n');
}

export function churnCharts({ series }: ChurnResult, quota: number): readonly Chart[] {
  return MEASURES.map((measure) => {
    const { name, unit, of } = UNITS[measure];
    const points = (samples: Series[Measure]['mean']): [number, number][] =>
      samples.map(([at, value]) => [at, value / of]);
    return lineChart({
      name: measure,
      title: `Of the nodes that never left: ${name}`,
      unit: unit === '' ? 'files' : unit,
      lines: [
        { name: 'mean', points: points(series[measure].mean) },
        { name: 'most', points: points(series[measure].most) },
      ],
      marks: measure === 'store' ? [{ value: quota / of, name: 'quota' }] : [],
    });
  });
}

/** Figures of the pulls' seconds; null if there is none. */
function percentileOf(seconds: readonly number[], percent: number): number | null {
  return seconds.length === 0 ? null : percentile(seconds, percent);
}
