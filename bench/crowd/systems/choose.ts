/** The systems by name. */
import type { SystemName } from '../options.ts';
import { proxy } from './proxy.ts';
import { registryAlone } from './registry.ts';
import type { System } from './system.ts';
import { weir } from './weir.ts';

export const SYSTEM_OF: Readonly<Record<SystemName, System>> = { registry: registryAlone, weir, proxy };
