/** The gauges of the last reload of the configuration, read at the moment of a scrape. */
import type { Registry } from 'prom-client';
import { SECOND } from '../util/clock.ts';
import { measure } from './gauges.ts';
import type { Reload } from './reload.ts';

export function measureReloads(
  registry: Registry,
  last: () => Pick<Reload, 'at' | 'error'> | undefined,
): void {
  measure(
    registry,
    'weir_config_last_reload_successful',
    '0 if the configuration could not be reloaded',
    () => (last()?.error === undefined ? 1 : 0),
  );
  measure(
    registry,
    'weir_config_last_reload_timestamp_seconds',
    'When the configuration was last reloaded, or that failed; 0: not since the start',
    () => (last()?.at ?? 0) / SECOND,
  );
}
