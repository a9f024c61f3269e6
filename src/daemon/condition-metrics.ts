/** The metrics of faults that cost nobody a pull, and would not be noticed otherwise. */
import { Gauge, type Registry } from 'prom-client';
import { BOOTSTRAP_REASONS, type BootstrapReason } from '../network/bootstrap-problems.ts';

export class ConditionMetrics {
  readonly #alone: Gauge;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#alone = new Gauge({
      name: 'weir_alone',
      help: '1 while this node is alone although cluster.bootstrap names others, by reason',
      labelNames: ['reason'],
      registers,
    });
    this.alone(undefined);
  }

  alone(reason: BootstrapReason | undefined): void {
    for (const each of BOOTSTRAP_REASONS) this.#alone.set({ reason: each }, each === reason ? 1 : 0);
  }
}
