/** The store's gauges, read at the moment of a scrape. */
import { Gauge, type Registry } from 'prom-client';
import { STORE_STATES, type StoreUsage } from '../store/store.ts';
import { freePercent } from '../store/watermarks.ts';
import { measure } from './gauges.ts';

export function measureStore(registry: Registry, usage: () => StoreUsage): void {
  const measureUsage = (name: string, help: string, read: (usage: StoreUsage) => number): void =>
    measure(registry, name, help, () => read(usage()));
  measureUsage('weir_store_bytes', 'Bytes of committed blobs', ({ blobBytes }) => blobBytes);
  measureUsage('weir_store_blobs', 'Committed blobs', ({ blobs }) => blobs);
  measureUsage('weir_store_partial_bytes', 'Bytes of partial blobs', ({ partialBytes }) => partialBytes);
  measureUsage('weir_store_quota_bytes', 'Bytes that the store may use', ({ quota }) => quota);
  measureUsage('weir_store_pinned_bytes', 'Bytes of pinned blobs', ({ pinnedBytes }) => pinnedBytes);
  measureUsage('weir_store_disk_free_ratio', "Free share of the data folder's disk, 0 to 1", freeShare);

  // One series for each state: 1 for the present one, 0 for the others.
  const collect = function (this: Gauge): void {
    const { state } = usage();
    for (const each of STORE_STATES) this.set({ state: each }, each === state ? 1 : 0);
  };
  const [name, help] = ['weir_store_state', '1 for the state of the store'];
  registry.registerMetric(new Gauge({ name, help, labelNames: ['state'], registers: [], collect }));
}

function freeShare({ disk }: StoreUsage): number {
  return freePercent(disk) / 100;
}
