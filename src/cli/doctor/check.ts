/**
 * The form of a check of `weir doctor`: it looks at one thing, says what it found, and names a cure. Checks run side by
 * side; what several of them need is in {@link Facts}, which asks once.
 */
import { formatListenAddress } from '../../config/kinds.ts';
import type { LoadedConfig } from '../../config/load.ts';
import type { Config } from '../../config/settings.ts';
import type { RegistryHost } from '../../oci/repository.ts';
import { isLoopbackHost } from '../../util/ip-address.ts';
import { DEFAULT_MIRROR } from '../runtimes/target.ts';
import type { Facts } from './facts.ts';

/** `skipped`: there is nothing to look at, or this user may not. */
export const CHECK_STATES = ['ok', 'warning', 'wrong', 'skipped'] as const;
export type CheckState = (typeof CHECK_STATES)[number];

export interface Finding {
  readonly state: CheckState;
  /** A sentence without its full stop; never a credential. */
  readonly found: string;
  /** What to do about it. */
  readonly cure?: string | undefined;
}

export interface Check {
  /** A few words, for the first column. */
  readonly name: string;
  run(context: DoctorContext): Promise<Finding>;
}

/** Where runtimes of this machine reach the mirror. */
export function mirrorUrlOf(config: Config): string {
  const addresses = config['mirror.listen'];
  const best = addresses.find(({ host }) => isLoopbackHost(host)) ?? addresses[0];
  const { host = '127.0.0.1', port = 0 } = best ?? {};
  const local = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return port === 0 ? DEFAULT_MIRROR : `http://${formatListenAddress({ host: local, port })}`;
}

/** Where the files of the runtimes are, as for `weir host`. */
export interface HostPlace {
  readonly root: string;
  readonly stateFolder: string;
}

export interface DoctorContext {
  readonly loaded: LoadedConfig;
  readonly host: HostPlace;
  readonly facts: Facts;
  /** Registries to try: the configured ones, and those that the caller named. */
  readonly registries: readonly RegistryHost[];
  /** Version of this program. */
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ends what runs for too long. */
  readonly signal: AbortSignal;
}

export const ok = (found: string): Finding => ({ state: 'ok', found });
export const warning = (found: string, cure?: string): Finding => ({ state: 'warning', found, cure });
export const wrong = (found: string, cure?: string): Finding => ({ state: 'wrong', found, cure });
export const skipped = (found: string, cure?: string): Finding => ({ state: 'skipped', found, cure });

/** `1 member`, `3 members` */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

/** Whether this process may read everything. */
export function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

export const AS_ROOT = 'run weir doctor as root';
