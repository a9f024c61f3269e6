/** Prefetching, as the configuration has it. */
import type { Config } from '../config/settings.ts';
import { Prefetch, type PrefetchOptions } from '../pull/prefetch.ts';

/** Prefetched layers that nobody has asked for take at most this part of the store. */
const PREFETCH_SHARE = 8;

export interface MakePrefetchOptions extends Omit<PrefetchOptions, 'maxUnused' | 'linger'> {
  /** Bytes of the store. */
  readonly quota: () => number;
}

/** @returns null if it is off */
export function makePrefetch(config: Config, { quota, ...options }: MakePrefetchOptions): Prefetch | null {
  if (config['pull.prefetch'] === 'off') return null;
  const maxUnused = (): number => quota() / PREFETCH_SHARE;
  return new Prefetch({ ...options, maxUnused, linger: config['pull.linger'] });
}
