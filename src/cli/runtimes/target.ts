/** What `weir host` knows of a runtime on this machine: the files to edit, and what there is to say. */
import type { Edit } from './edit.ts';
import type { HostFiles } from './host-files.ts';

export const RUNTIMES = ['containerd', 'docker', 'containers', 'k3s', 'rke2'] as const;
export type Runtime = (typeof RUNTIMES)[number];

/** All registries that have no file of their own. */
export const ALL_REGISTRIES = '_default';

/**
 * Where a runtime learns which digest a tag means: from the mirror, or from the registry itself, so that the mirror is asked
 * for digests alone. What comes for a digest is checked by the runtime; a word on a tag is believed, even that of a program
 * which has taken the mirror's port while no node listened.
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
}

export interface Found {
  readonly runtime: Runtime;
  readonly targets: readonly Target[];
  /** What an administrator should know; something may be for them to do. */
  readonly notes: readonly string[];
}

/**
 * Undefined where the runtime is not on this machine.
 * @param isNamed somebody named the runtime, who knows better: its program may be out of sight in a container
 */
export type Detect = (files: HostFiles, wish: Wish, isNamed: boolean) => Promise<Found | undefined>;

export async function existsAny(files: HostFiles, paths: readonly string[]): Promise<boolean> {
  for (const path of paths) if (await files.exists(path)) return true;
  return false;
}

/** Where a program may be. */
export function programPaths(name: string): readonly string[] {
  return ['/usr/bin', '/usr/sbin', '/usr/local/bin', '/usr/local/sbin', '/bin', '/opt/bin'].map(
    (folder) => `${folder}/${name}`,
  );
}
