/** The gauges of the last reload of the configuration, read at the moment of a scrape. */
import { Gauge, type Registry } from 'prom-client';
import { SECOND } from '../util/clock.ts';
import type { Reload } from './reload.ts';

export function measureReloads(
  registry: Registry,
  last: () => Pick<Reload, 'at' | 'error'> | undefined,
): void {
  const measure = (name: string, help: string, read: () => number): void => {
    const collect = function (this: Gauge): void {
      this.set(read());
    };
    registry.registerMetric(new Gauge({ name, help, registers: [], collect }));
  };
  measure('weir_config_last_reload_successful', '0 if the configuration could not be reloaded', () =>
    last()?.error === undefined ? 1 : 0,
  );
  measure(
    'weir_config_last_reload_timestamp_seconds',
    'When the configuration was last reloaded, or that failed; 0: not since the start',
    () => (last()?.at ?? 0) / SECOND,
  );
}
