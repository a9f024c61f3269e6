/** A runtime of this machine as `weir host` sees it: the files to edit, and notes for the administrator. */
import type { Edit } from './edit.ts';
import type { HostFiles } from '../../host/host-files.ts';

export const RUNTIMES = ['containerd', 'docker', 'containers', 'k3s', 'rke2'] as const;
export type Runtime = (typeof RUNTIMES)[number];

export const DEFAULT_MIRROR = 'http://127.0.0.1:4770';

/** Stands for all registries without a file of their own. */
export const ALL_REGISTRIES = '_default';

/**
 * Who resolves tags for a runtime: the mirror, or the registry itself. In the latter case the runtime asks the mirror for
 * digests alone. A runtime checks the content of a digest, but believes any answer for a tag, even from a program that
 * has taken the mirror's port while no node listened.
 */
export const RESOLVERS = ['mirror', 'registry'] as const;
export type Resolver = (typeof RESOLVERS)[number];

export interface Wish {
  /** `http://127.0.0.1:4770`, without a slash at its end. */
  readonly mirrorUrl: string;
  /** {@link ALL_REGISTRIES} or names of registries. */
  readonly registries: readonly string[];
  /** Pulled without the mirror: registries, and for podman and CRI-O repositories too. */
  readonly direct: readonly string[];
  readonly resolve: Resolver;
}

export interface Target {
  readonly path: string;
  readonly edit: Edit;
  /** `at the next pull`, … */
  readonly takesEffect: string;
  /** The runtime writes it itself, so a failure is a note. */
  readonly isOptional?: boolean;
}

export interface Found {
  readonly runtime: Runtime;
  readonly targets: readonly Target[];
  /** Files that an earlier run, with other options, might have written. */
  readonly others?: readonly string[];
  /** Notes for the administrator, some with steps to take. */
  readonly notes: readonly string[];
}

/**
 * Undefined if the runtime is not on this machine.
 * @param isNamed the user named the runtime: from a container its program may not be visible
 */
export type Detect = (files: HostFiles, wish: Wish, isNamed: boolean) => Promise<Found | undefined>;

export async function existsAny(files: HostFiles, paths: readonly string[]): Promise<boolean> {
  for (const path of paths) if (await files.exists(path)) return true;
  return false;
}

/** Possible paths of a program. */
export function programPaths(name: string): readonly string[] {
  return ['/usr/bin', '/usr/sbin', '/usr/local/bin', '/usr/local/sbin', '/bin', '/opt/bin'].map(
    (folder) => `${folder}/${name}`,
  );
}
