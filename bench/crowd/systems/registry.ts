/** `registry`: no mirror at all. Starts nothing: each runtime asks the registry itself. */
import type { RunningSystem, System } from './system.ts';

const NOTHING: RunningSystem = {
  versions: {},
  knownSeconds: null,
  mirror: () => undefined,
  pids: () => [],
  central: [],
  traffic: async () => undefined,
  kill: async () => undefined,
  log: () => '',
  [Symbol.asyncDispose]: async () => undefined,
};

export const registryAlone: System = {
  name: 'registry',
  untold: 'registry',
  start: async () => NOTHING,
};
