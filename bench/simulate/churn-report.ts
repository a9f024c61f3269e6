/** The result of `bench simulate --churn`, as text and as report.json, whose fields are those of `bench churn`. */
import { MIB } from '../../src/util/clock.ts';
import { formatBytes } from '../../src/cli/client/format.ts';
import { formatDuration } from '../../src/config/units.ts';
import type { ChurnSettings } from '../churn/options.ts';
import { figuresOf, tallyLines, type ChurnFigures } from '../churn/report.ts';
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
): ChurnFigures & Pick<SimulatedChurn, 'trends' | 'series'> {
  const { registryBytes: bytes, registryRequests: requests, pulledBytes: arrived } = churn;
  return {
    ...figuresOf(settings, churn, { bytes, requests, arrived }, null),
    trends: churn.trends,
    series: churn.series,
  };
}

export function renderChurn(settings: ChurnSettings, churn: SimulatedChurn): string {
  const { registryBytes, pulledBytes, series, trends } = churn;
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
    ...tallyLines(churnResult(settings, churn)),
    `the registry sent ${formatBytes(registryBytes)} of ${formatBytes(pulledBytes)} that were pulled`,
    '',
    'of the nodes that never left, means:',
    formatTable([['', 'first', 'middle', 'last', 'second half', 'z', ''], ...rows]),
    '',
    verdictOf(churn),
    '',
  ].join('\n');
}
