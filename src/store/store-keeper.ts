/**
 * What an operator does with the store: list its blobs, remove one, pin blobs, make room. Each change waits for its turn
 * among the pulls that make room, so that no blob is evicted while it is pinned.
 */
import type { Clock } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobIndex, Entry } from './blob-index.ts';
import type { Pins } from './pins.ts';
import type { Freed, Space } from './space.ts';
import type { BlobInfo } from './store.ts';

/** Share of the quota that pinned blobs may take: pulls need the rest. */
export const PINNED_SHARE = 0.5;

export interface StoredBlob extends BlobInfo {
  /** Milliseconds since the epoch. */
  readonly lastUsed: number;
  /** Being read. */
  readonly isInUse: boolean;
  readonly isPinned: boolean;
  /** When this process found the whole blob right, in milliseconds since the epoch; undefined if it has not. */
  readonly verifiedAt: number | undefined;
}

export type Removal = 'removed' | 'absent' | 'in use' | 'pinned';

export interface StoreKeeperOptions {
  readonly blobs: BlobIndex;
  readonly space: Space;
  /** Undefined: nothing can be pinned. */
  readonly pins: Pins | undefined;
  readonly clock: Clock;
  /** Drops a blob. */
  readonly remove: (digest: Digest) => Promise<void>;
}

export class StoreKeeper {
  readonly #options: StoreKeeperOptions;

  constructor(options: StoreKeeperOptions) {
    this.#options = options;
  }

  *list(): Iterable<StoredBlob> {
    const { blobs } = this.#options;
    for (const held of blobs.list()) {
      const entry = blobs.get(held.digest);
      if (entry !== undefined) yield { ...held, verifiedAt: verifiedAt(entry) };
    }
  }

  isPinned(digest: Digest): boolean {
    return this.#options.pins?.has(digest) === true;
  }

  /**
   * Removes a blob. Readers that have it open keep it.
   * @param options.force also if it is being read or pinned; its pin goes, too
   */
  remove(digest: Digest, { force }: { readonly force: boolean }): Promise<Removal> {
    const { blobs, space, pins, remove } = this.#options;
    return space.inTurn(async () => {
      const entry = blobs.get(digest);
      if (entry === undefined) return 'absent';
      if (!force && this.isPinned(digest)) return 'pinned';
      if (!force && entry.readers > 0) return 'in use';
      pins?.remove([digest]);
      await remove(digest);
      return blobs.get(digest) === undefined ? 'removed' : 'pinned'; // an import stays
    });
  }

  /**
   * Pins those of the blobs that are here, all or none of them.
   * @returns the blobs that are pinned now
   * @throws WeirError `store_full` if that is more than pins may take; `store_unusable`
   */
  pin(digests: readonly Digest[]): Promise<readonly BlobInfo[]> {
    const { blobs, space, pins, clock } = this.#options;
    return space.inTurn(async () => {
      if (pins === undefined) throw new WeirError('store_unusable', 'this store keeps no pins');
      const here = [...new Set(digests)].flatMap((digest): readonly BlobInfo[] => {
        const entry = blobs.get(digest);
        return entry === undefined ? [] : [{ digest, size: entry.size }];
      });
      let bytes = pins.bytes;
      for (const { digest, size } of here) if (!pins.has(digest)) bytes += size;
      const allowed = Math.floor(space.quota * PINNED_SHARE);
      if (bytes > allowed) {
        const problem = `all pins together would take ${bytes} bytes, and may take ${allowed}: half of store.quota`;
        throw new WeirError('store_full', problem);
      }
      pins.add(here, clock.now());
      return here;
    });
  }

  /** @returns how many of them were pinned; @throws WeirError `store_unusable` */
  unpin(digests: readonly Digest[]): Promise<number> {
    const { space, pins } = this.#options;
    return space.inTurn(async () => pins?.remove(digests) ?? 0);
  }

  /** Evicts, least recently used first, until the store holds at most so many bytes. */
  shrinkTo(bytes: number): Promise<Freed> {
    return this.#options.space.shrinkTo(bytes);
  }

  /** Evicts what was not used for so many milliseconds. */
  evictUnused(duration: number): Promise<Freed> {
    const { space, clock } = this.#options;
    return space.evictUnused(clock.now() - duration);
  }

  /** Looks at the disk, and makes room on it if there is little. @throws WeirError `store_unusable` */
  keepDiskFree(): Promise<void> {
    return this.#options.space.keepDiskFree();
  }
}

function verifiedAt({ verification, verifiedAt: at }: Entry): number | undefined {
  if (verification === undefined) return undefined;
  if (verification === 'verified') return at;
  return new Uint8Array(verification.check.checked).every((each) => each === 1) ? at : undefined;
}
