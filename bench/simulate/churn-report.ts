/** What `bench simulate --churn` came to, for people and as report.json, whose fields are those of `bench churn`. */
import { MIB } from '../../src/clock.ts';
import { formatBytes } from '../../src/client/format.ts';
import { formatDuration } from '../../src/config/units.ts';
import type { ChurnSettings } from '../churn/options.ts';
import { percentiles } from '../support/stats.ts';
import { formatTable, type Row } from '../support/table.ts';
import { MEASURES, verdictOf, type Measure, type SimulatedChurn } from './churn.ts';

const UNITS: Readonly<Record<Measure, { readonly name: string; readonly of: number }>> = {
  remembered: { name: 'entries remembered of others', of: 1 },
  connections: { name: 'connected members', of: 1 },
  store: { name: 'store, MiB', of: MIB },
};

/** One of the report's `results`. */
export function churnResult(
  settings: ChurnSettings,
  churn: SimulatedChurn,
): Readonly<Record<string, unknown>> {
  const { pulls, failures } = churn;
  const times = pulls.length > 0 ? percentiles(pulls) : undefined;
  return {
    system: 'weir',
    nodes: settings.nodes,
    turn: 1,
    seed: settings.seed,
    image_bytes: settings.layers.reduce((sum, size) => sum + size, 0),
    lower_bound_s: null,
    makespan_s: settings.for / 1000,
    makespan_ratio: null,
    p50_s: times?.p50 ?? null,
    p99_s: times?.p99 ?? null,
    registry_bytes: churn.registryBytes,
    registry_ratio: churn.pulledBytes > 0 ? churn.registryBytes / churn.pulledBytes : null,
    registry_requests: churn.registryRequests,
    cpu_s_per_gib: null,
    rss_max_bytes: null,
    failures: failures.length,
    failure_reasons: failures,
    pulls: pulls.length,
    cut: churn.cut,
    leaves: churn.leaves,
    kills: churn.kills,
    trends: churn.trends,
    series: churn.series,
  };
}

export function renderChurn(settings: ChurnSettings, churn: SimulatedChurn): string {
  const { pulls, cut, leaves, kills, failures, registryBytes, pulledBytes, series, trends } = churn;
  const times = pulls.length > 0 ? percentiles(pulls) : undefined;
  const rows = MEASURES.map((measure): Row => {
    const { name, of } = UNITS[measure];
    const values = series[measure].map(([, value]) => (value / of).toFixed(1));
    const { growth, z, verdict } = trends[measure];
    const [first = '-', middle = '-', last = '-'] = [values[0], values[values.length >> 1], values.at(-1)];
    return [name, first, middle, last, `${(100 * growth).toFixed(1)} %`, z.toFixed(1), verdict];
  });
  return [
    `churn of ${settings.nodes} nodes for ${formatDuration(settings.for)}, simulated: ${settings.images} images, a ` +
      `quota of ${formatBytes(settings.quota)}`,
    `${leaves} times a node left (${kills} of them killed) and joined again`,
    `${pulls.length} pulls arrived` +
      (times === undefined ? '' : `, p50 ${times.p50.toFixed(2)} s, p99 ${times.p99.toFixed(2)} s`) +
      `; ${cut} were cut as their node left; ${failures.length} failed`,
    `the registry sent ${formatBytes(registryBytes)} of ${formatBytes(pulledBytes)} that were pulled`,
    '',
    'of the nodes that never left, means:',
    formatTable([['', 'first', 'middle', 'last', 'second half', 'z', ''], ...rows]),
    '',
    verdictOf(churn),
    '',
  ].join('\n');
}
