/** The metrics of faults that cost nobody a pull, and would not be noticed otherwise. */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { HostComparison } from '../host/drift.ts';
import { BOOTSTRAP_REASONS, type BootstrapReason } from '../network/bootstrap-problems.ts';
import { UNSTORED_CAUSES, type UnstoredCause } from './unstored-blobs.ts';

export class ConditionMetrics {
  readonly #alone: Gauge;
  readonly #unstored: Counter;
  readonly #hostFiles: Gauge;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#alone = new Gauge({
      name: 'weir_alone',
      help: '1 while this node is alone although cluster.bootstrap names others, by reason',
      labelNames: ['reason'],
      registers,
    });
    this.alone(undefined);
    this.#unstored = new Counter({
      name: 'weir_unstored_blobs_total',
      help: 'Blobs that could not be stored and passed through, by cause',
      labelNames: ['cause'],
      registers,
    });
    this.#hostFiles = new Gauge({
      name: 'weir_host_files',
      help: 'Files that weir host configure wrote, by state',
      labelNames: ['state'],
      registers,
    });
    for (const cause of UNSTORED_CAUSES) this.#unstored.inc({ cause }, 0);
  }

  /** @param comparison undefined: this node may not know */
  hostFiles(comparison: HostComparison | undefined): void {
    this.#hostFiles.reset();
    if (comparison === undefined) return;
    this.#hostFiles.set({ state: 'placed' }, comparison.placed);
    this.#hostFiles.set({ state: 'drifted' }, comparison.drifted.length);
  }

  unstored(cause: UnstoredCause): void {
    this.#unstored.inc({ cause });
  }

  alone(reason: BootstrapReason | undefined): void {
    for (const each of BOOTSTRAP_REASONS) this.#alone.set({ reason: each }, each === reason ? 1 : 0);
  }
}
