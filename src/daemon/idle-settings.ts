/**
 * Says that a setting does nothing: a content folder of the runtime without content, and entries of `registries` that nobody
 * asks for. Both are usually misspelt. Each is named once.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { HOUR, MINUTE, type Clock } from '../util/clock.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { RegistryConfig } from '../upstream/registry-config.ts';

/** Milliseconds after the first pull: the runtime keeps a blob once it has all of it. */
const SETTLED = 2 * MINUTE;
const DAY = 24 * HOUR;

export interface ContentFolder {
  readonly root: string;
  /** Blobs that were found in it. */
  readonly blobs: number;
}

export interface IdleSettingsOptions {
  readonly clock: Clock;
  readonly logger: { warn(detail: object, message: string): void };
  /** Those that the operator named: of the usual ones most do not exist on a machine. */
  readonly folders: () => readonly ContentFolder[];
  /** Entries of `registries` ({@link entriesForImages}). */
  readonly entries: Iterable<RegistryHost>;
}

export class IdleSettings {
  readonly #options: IdleSettingsOptions;
  readonly #unasked: Set<RegistryHost>;
  readonly #named: Set<string> = new Set();
  #firstPull: number | undefined;
  #dayBegan: number;
  #pullsOfDay = 0;

  constructor(options: IdleSettingsOptions) {
    this.#options = options;
    this.#unasked = new Set(options.entries);
    this.#dayBegan = options.clock.monotonic();
  }

  /** A runtime or a member has asked for something of this registry. */
  asked(registry: RegistryHost): void {
    this.#unasked.delete(registry);
  }

  /** A blob was pulled. */
  pulled(): void {
    this.#firstPull ??= this.#options.clock.monotonic();
    this.#pullsOfDay += 1;
  }

  /** To be called about once a minute. Never throws. */
  async look(): Promise<void> {
    const now = this.#options.clock.monotonic();
    if (this.#firstPull !== undefined && now - this.#firstPull >= SETTLED) await this.#lookAtFolders();
    if (now - this.#dayBegan < DAY) return;
    if (this.#pullsOfDay > 0) this.#nameUnasked();
    this.#dayBegan = now;
    this.#pullsOfDay = 0;
  }

  async #lookAtFolders(): Promise<void> {
    for (const { root, blobs } of this.#options.folders()) {
      if (this.#named.has(root)) continue;
      // Whatever the runtime has dropped by now: the folder was the right one.
      this.#named.add(root);
      if (blobs > 0) continue;
      const problem = await problemOf(root);
      this.#options.logger.warn(
        { folder: root },
        `the runtime's content folder ${root} ${problem}, although blobs were pulled: nothing is served from it, and each ` +
          'blob is kept twice; name the folder io.containerd.content.v1.content of the runtime that pulls in ' +
          'store.runtime-content (runtimeContent.hostPath in the chart), or set none',
      );
    }
  }

  #nameUnasked(): void {
    const entries = [...this.#unasked];
    this.#unasked.clear();
    if (entries.length === 0) return;
    const names = entries.join(', ');
    this.#options.logger.warn(
      { entries },
      `no image of ${names} was asked for in a day with pulls, so the entries of registries do nothing: ` +
        'write the names as images have them, with the port; remove those that are no longer used',
    );
  }
}

/**
 * The entries of `registries` that images should name. An empty one allows a place to which a registry leads, and that of a
 * mirror has its credential.
 */
export function entriesForImages(
  registries: ReadonlyMap<RegistryHost, RegistryConfig>,
): readonly RegistryHost[] {
  const mirrors = new Set(
    [...registries.values()].flatMap((entry) => (entry.mirrors ?? []).map(({ host }) => host)),
  );
  return [...registries]
    .filter(
      ([host, entry]) => !mirrors.has(host) && Object.values(entry).some((value) => value !== undefined),
    )
    .map(([host]) => host);
}

async function problemOf(root: string): Promise<string> {
  if (!(await isThere(root))) return 'does not exist';
  return (await isThere(join(root, 'blobs')))
    ? 'is empty'
    : 'is not a content folder of containerd (it has no blobs/)';
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
