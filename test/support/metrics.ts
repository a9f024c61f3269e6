/** Reads Prometheus' text format; and what a node that does nothing measures. */
import type { MetricsSources } from '../../src/daemon/metrics.ts';

/** Of a node that is on its own and holds nothing. */
export const IDLE_SOURCES: MetricsSources = {
  usage: () => ({
    blobs: 0,
    blobBytes: 0,
    partials: 0,
    partialBytes: 0,
    quota: 0,
    pins: 0,
    pinnedBytes: 0,
    disk: { size: 0, free: 0 },
    state: 'normal',
  }),
  runtimeBlobs: () => 0,
  blobsInFlight: () => 0,
  unwrittenBytes: () => 0,
  members: () => 1,
  connections: () => 0,
  peerConnections: () => 0,
  reload: () => undefined,
};

/** Samples of one scrape, by name and labels in their text form: `weir_bytes_total{source="store"}`. */
export class Metrics {
  readonly samples: ReadonlyMap<string, number>;

  constructor(text: string) {
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    this.samples = new Map(
      lines.map((line) => {
        const space = line.lastIndexOf(' ');
        return [line.slice(0, space), Number(line.slice(space + 1))];
      }),
    );
  }

  /** The sum of all samples of `name` that carry these labels; 0 if there is none. */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
    let sum = 0;
    for (const [key, value] of this.samples) {
      const isOfName = key === name || key.startsWith(`${name}{`);
      if (isOfName && wanted.every((label) => key.includes(label))) sum += value;
    }
    return sum;
  }
}
