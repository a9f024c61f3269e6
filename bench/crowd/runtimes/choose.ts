/** The runtimes by name. */
import type { RuntimeName } from '../options.ts';
import { containerdRuntime } from './containerd.ts';
import { fetchRuntime } from './fetch.ts';
import type { Runtime } from './runtime.ts';

export const RUNTIME_OF: Readonly<Record<RuntimeName, Runtime>> = {
  fetch: fetchRuntime,
  containerd: containerdRuntime,
};
