/** The metrics of faults that cost nobody a pull, and would not be noticed otherwise. */
import { Counter, Gauge, type Registry } from 'prom-client';
import { BOOTSTRAP_REASONS, type BootstrapReason } from '../network/bootstrap-problems.ts';
import { UNSTORED_CAUSES, type UnstoredCause } from './unstored-blobs.ts';

export class ConditionMetrics {
  readonly #alone: Gauge;
  readonly #unstored: Counter;

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
    for (const cause of UNSTORED_CAUSES) this.#unstored.inc({ cause }, 0);
  }

  unstored(cause: UnstoredCause): void {
    this.#unstored.inc({ cause });
  }

  alone(reason: BootstrapReason | undefined): void {
    for (const each of BOOTSTRAP_REASONS) this.#alone.set({ reason: each }, each === reason ? 1 : 0);
  }
}
