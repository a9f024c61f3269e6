/** The systems by name. */
import type { SystemName } from '../options.ts';
import { dragonfly } from './dragonfly.ts';
import { kraken } from './kraken.ts';
import { proxy } from './proxy.ts';
import { registryAlone } from './registry.ts';
import { spegel } from './spegel.ts';
import type { System } from './system.ts';
import { weir } from './weir.ts';

export const SYSTEM_OF: Readonly<Record<SystemName, System>> = {
  registry: registryAlone,
  weir,
  proxy,
  spegel,
  dragonfly,
  kraken,
};
