/** What a check of the doctor gets, with real parts wherever a test does not say otherwise. */
import { defaultConfig, type LoadedConfig } from '../../../../src/config/load.ts';
import { SETTING_KEYS, type Config } from '../../../../src/config/settings.ts';
import type { DoctorContext, HostPlace } from '../../../../src/cli/doctor/check.ts';
import { Facts } from '../../../../src/cli/doctor/facts.ts';
import { STATE_FOLDER } from '../../../../src/host/original-files.ts';
import type { Lookup } from '../../../../src/network/addresses.ts';
import { parseRegistryHost } from '../../../../src/oci/repository.ts';

export interface Scene {
  readonly config?: Partial<Config>;
  /** The node's admin address; default: nobody answers. */
  readonly admin?: URL;
  readonly lookup?: Lookup;
  readonly host?: HostPlace;
  /** Registries to try besides the configured ones. */
  readonly registries?: readonly string[];
  readonly version?: string;
  readonly warnings?: readonly string[];
}

/** A root folder without anything. */
export const NOWHERE: HostPlace = { root: '/proc/self/task', stateFolder: STATE_FOLDER };

export function contextOf(scene: Scene = {}): DoctorContext {
  const { admin = new URL('http://127.0.0.1:1'), lookup, host = NOWHERE, version = '1.2.3' } = scene;
  const config = defaultConfig({ 'store.runtime-content': 'none', ...scene.config });
  const origins = Object.fromEntries([...SETTING_KEYS, 'registries'].map((key) => [key, 'default']));
  const loaded: LoadedConfig = {
    config,
    origins: origins as LoadedConfig['origins'],
    warnings: scene.warnings ?? [],
    file: undefined,
    secretFiles: [],
    files: [],
  };
  const signal = AbortSignal.timeout(30_000);
  const env = {};
  const named = (scene.registries ?? []).map(parseRegistryHost);
  return {
    loaded,
    host,
    facts: new Facts({ loaded, admin, host, userAgent: 'weir/test', env, signal, lookup }),
    registries: [...new Set([...config.registries.keys(), ...named])],
    version,
    env,
    signal,
  };
}
