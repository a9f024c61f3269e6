/**
 * When each blob was used last: the mtime of its file, so that the order of eviction survives a restart without a database.
 *
 * A blob that is kept has a time in the future. So it is evicted after all others, whatever peers read of it, and no pull
 * fails for its sake: a store that has nothing else gives it up. Once a runtime has read it, it is a blob as any other.
 */
import { utimes } from 'node:fs/promises';
import { MINUTE, type Clock } from '../util/clock.ts';
import { errorMessage, systemCode } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobIndex, Entry } from './blob-index.ts';
import type { DataFolder } from './data-folder.ts';

/** Milliseconds between two updates of a file's mtime: eviction needs no finer order. */
const TOUCH_INTERVAL = 1 * MINUTE;

export interface LastUseOptions {
  readonly blobs: BlobIndex;
  readonly folder: DataFolder;
  readonly clock: Clock;
  readonly onProblem?: ((message: string) => void) | undefined;
}

export class LastUse {
  readonly #options: LastUseOptions;

  constructor(options: LastUseOptions) {
    this.#options = options;
  }

  /** It is read, by a runtime or a peer. */
  touch(digest: Digest, found: Entry): void {
    const now = this.#options.clock.now();
    if (found.lastUsed > now) return;
    found.lastUsed = now;
    if (now - found.touchedAt >= TOUCH_INTERVAL) this.#note(digest, found, now);
  }

  /** @param until milliseconds since the epoch; never shortens an earlier time @returns whether the blob is here */
  keep(digest: Digest, until: number): boolean {
    const found = this.#options.blobs.get(digest);
    if (found === undefined) return false;
    if (until > found.lastUsed) this.#note(digest, found, until);
    return true;
  }

  /** A runtime has read it: it is kept no longer. */
  used(digest: Digest): void {
    const found = this.#options.blobs.get(digest);
    const now = this.#options.clock.now();
    if (found !== undefined && found.lastUsed > now) this.#note(digest, found, now);
  }

  isKept(digest: Digest): boolean {
    return (this.#options.blobs.get(digest)?.lastUsed ?? 0) > this.#options.clock.now();
  }

  /** Bytes of all blobs that are kept. */
  get keptBytes(): number {
    const now = this.#options.clock.now();
    let bytes = 0;
    for (const { size, lastUsed } of this.#options.blobs.list()) if (lastUsed > now) bytes += size;
    return bytes;
  }

  #note(digest: Digest, found: Entry, at: number): void {
    const { clock, folder, onProblem } = this.#options;
    found.lastUsed = at;
    found.touchedAt = clock.now();
    const time = new Date(at);
    utimes(folder.blob(digest), time, time).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return; // evicted meanwhile
      onProblem?.(`cannot note the use of ${digest}: ${errorMessage(error)}`);
    });
  }
}
