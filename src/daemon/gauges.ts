/** Gauges that are read at the moment of a scrape. */
import { Gauge, type Registry } from 'prom-client';

export function measure(registry: Registry, name: string, help: string, read: () => number): void {
  const collect = function (this: Gauge): void {
    this.set(read());
  };
  registry.registerMetric(new Gauge({ name, help, registers: [], collect }));
}
