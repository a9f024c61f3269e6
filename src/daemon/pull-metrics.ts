/** The metrics of the pulls of runtimes (pull-account.ts). */
import { Counter, Histogram, type Registry } from 'prom-client';
import type { PullMeter } from './pull-account.ts';

/** Seconds: from a hit in the page cache to a layer of gigabytes. */
export const DURATION_BUCKETS: number[] = [0.001, 0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 120, 600];

export function meterPulls(registry: Registry): PullMeter {
  const registers = [registry];
  const counter = (name: string, help: string): Counter =>
    new Counter({ name, help, labelNames: ['source'], registers });
  const bytesBySource = counter('weir_pull_bytes_total', 'Bytes that runtimes got, by origin');
  const secondsBySource = counter(
    'weir_pull_seconds_total',
    'Seconds of the requests that brought these bytes',
  );
  const durations = new Histogram({
    name: 'weir_pull_duration_seconds',
    help: 'Time to serve an image or a blob',
    labelNames: ['kind', 'outcome'],
    buckets: DURATION_BUCKETS,
    registers,
  });
  return {
    pulled: (sources, seconds) => {
      const bytes = sources.store + sources.peers + sources.registry;
      for (const [source, part] of Object.entries(sources) as [keyof typeof sources, number][]) {
        if (part === 0) continue;
        bytesBySource.inc({ source }, part);
        secondsBySource.inc({ source }, seconds * (part / bytes));
      }
    },
    ended: (kind, outcome, seconds) => durations.observe({ kind, outcome }, seconds),
  };
}
