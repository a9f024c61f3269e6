/** The settings that a running node takes from its configuration when that is read again (daemon/reload.ts). */
import type { Config, ConfigKey } from './settings.ts';

/** All others take effect after a restart. */
export const RELOADABLE: ReadonlySet<ConfigKey> = new Set<ConfigKey>([
  'registries',
  'cluster.key-file',
  'cluster.banned',
  'transfer.max-upload',
  'transfer.max-download',
  'transfer.max-cross-zone',
  'access.mode',
  'access.ttl',
  'access.offline-ttl',
  'upstream.connect-timeout',
  'upstream.header-timeout',
  'upstream.stall-timeout',
  'upstream.retries',
  'upstream.max-connections',
  'upstream.max-download',
  'upstream.max-cluster-download',
  'upstream.allow-private',
  'upstream.ca-file',
  'upstream.certs-folders',
  'upstream.docker-config',
  'log.level',
]);

/** Whether the change of this setting waits for a restart: also that from no cluster key to one, which changes who may connect. */
export function needsRestart(key: ConfigKey, before: Config, after: Config): boolean {
  if (key !== 'cluster.key-file') return !RELOADABLE.has(key);
  return (before[key] === '') !== (after[key] === '');
}

/** The settings whose values differ. */
export function changedSettings(before: Config, after: Config): readonly ConfigKey[] {
  const keys = Object.keys(after) as ConfigKey[];
  return keys.filter((key) => comparable(before[key]) !== comparable(after[key]));
}

function comparable(value: unknown): string {
  return JSON.stringify(value instanceof Map ? [...value] : value) ?? '';
}
