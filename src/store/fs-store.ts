/**
 * The store on disk: committed blobs, arriving blobs, and the quota that bounds both.
 *
 * It owns the data folder (whose lock the catalog holds) and an index of it in memory, read once at the start.
 */
import { type FileHandle, open, rename, rm, writeFile } from 'node:fs/promises';
import { MINUTE, type Clock } from '../util/clock.ts';
import { errorMessage, systemCode, WeirError } from '../util/errors.ts';
import { digestHex, type Digest } from '../oci/digest.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import type { RegistryHost } from '../oci/repository.ts';
import { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { ByteFiles } from './byte-files.ts';
import { BlobIndex, type Entry } from './blob-index.ts';
import { ChunkMap, impliedMap, isImplied } from './chunk-map.ts';
import { FILE_MODE, partialName, type DataFolder } from './data-folder.ts';
import { FsBlob, unverifiedBy } from './fs-blob.ts';
import { FsIngest } from './fs-ingest.ts';
import type { IngestOwner } from './ingest-owner.ts';
import { LastUse } from './last-use.ts';
import type { Holdings } from './room.ts';
import { Space, type Victim } from './space.ts';
import { readChunkMap, removeStrangers, scanBlobs, scanPartials } from './scan.ts';
import type { Blob, BlobInfo, Ingest, Store, StoreUsage } from './store.ts';

/** Milliseconds for which a blob that was found right is read unchecked. */
const VERIFIED_FOR = 10 * MINUTE;

/** Removes a file that may be gone, or that may have been replaced by a folder. */
const WHATEVER = { force: true, recursive: true } as const;

export interface FsStoreOptions {
  readonly folder: DataFolder;
  /** Bytes; `auto` is the smaller of 20 GiB and a tenth of the disk. */
  readonly quota: number | 'auto';
  /** Partial blobs that no pull has resumed for this many milliseconds are dropped at the start. */
  readonly partialMaxAge: number;
  readonly clock: Clock;
  /** Reads, writes and hashes the files of blobs. */
  readonly files: ByteFiles;
  /** Whether this registry has delivered anything; default: all have. */
  readonly hasDelivered?: (registry: RegistryHost) => boolean;
  readonly onEvict?: (info: BlobInfo) => void;
  /** A blob is complete and can be opened. */
  readonly onCommit?: (info: BlobInfo) => void;
  /** A blob was found damaged and dropped, or a file could not be handled; for the log. */
  readonly onProblem?: (message: string) => void;
}

interface Partial {
  readonly bytes: number;
  readonly lastUsed: number;
  /** Undefined for a partial blob of an earlier run. */
  readonly registry: RegistryHost | undefined;
}

export class FsStore implements Store, IngestOwner {
  readonly name = 'store';
  readonly lastUse: LastUse;
  readonly #options: FsStoreOptions;
  readonly #folder: DataFolder;
  readonly #blobs: BlobIndex = new BlobIndex();
  /** By {@link partialName}, as {@link #ingests}. */
  readonly #partials: Map<string, Partial> = new Map();
  readonly #ingests: Map<string, FsIngest> = new Map();
  readonly #space: Space;

  private constructor(options: FsStoreOptions) {
    this.#options = options;
    this.#folder = options.folder;
    this.lastUse = new LastUse({ ...options, blobs: this.#blobs });
    this.#space = new Space({
      root: options.folder.root,
      quota: options.quota,
      holdings: () => this.#holdings(),
      evict: (victim) => this.#evict(victim),
    });
  }

  /** @throws WeirError `store_unusable` */
  static async open(options: FsStoreOptions): Promise<FsStore> {
    await options.folder.create();
    const store = new FsStore(options);
    await store.#load();
    return store;
  }

  async #load(): Promise<void> {
    const { clock, partialMaxAge, onProblem } = this.#options;
    await this.#space.open();
    for await (const { digest, size, lastUsed } of scanBlobs(this.#folder)) {
      this.#blobs.add(digest, size, lastUsed, undefined);
    }
    const strangers = await removeStrangers(this.#folder);
    if (strangers > 0) {
      onProblem?.(
        `${strangers} files of partial blobs do not name their registry (an earlier version's): dropped`,
      );
    }
    for await (const { name, bytes, lastUsed } of scanPartials(this.#folder)) {
      if (clock.now() - lastUsed > partialMaxAge) await this.#removePartial(name);
      else this.#partials.set(name, { bytes, lastUsed, registry: undefined });
    }
    await this.#space.shrink();
  }

  async stat(digest: Digest): Promise<BlobInfo | undefined> {
    const found = this.#blobs.get(digest);
    return found === undefined ? undefined : { digest, size: found.size };
  }

  async *list(): AsyncIterable<BlobInfo> {
    for (const { digest, size } of this.#blobs.list()) yield { digest, size };
  }

  async open(digest: Digest): Promise<Blob | undefined> {
    const found = this.#blobs.get(digest);
    if (found === undefined) return undefined;
    found.pins++;
    let file: FileHandle | undefined;
    try {
      file = await open(this.#folder.blob(digest), 'r');
      await this.#verify(digest, found, file);
    } catch (error) {
      found.pins--;
      await file?.close();
      this.#options.onProblem?.(`dropping ${digest}: ${errorMessage(error)}`);
      await this.delete(digest);
      return undefined;
    }
    this.lastUse.touch(digest, found);
    return new FsBlob({
      digest,
      size: found.size,
      file,
      unverified: found.verification === 'verified' ? undefined : found.verification,
      chunkMap: async () =>
        impliedMap(digest, found.size) ?? (await readChunkMap(this.#folder.chunkMap(digest))),
      onCorrupt: async () => {
        this.#options.onProblem?.(`the stored blob ${digest} is damaged: dropped`);
        await this.delete(digest);
      },
      onClose: () => found.pins--,
    });
  }

  /** A blob that was found right long ago is checked again: it may have left the page cache, and rotted on the disk. */
  async #verify(digest: Digest, found: Entry, file: FileHandle): Promise<void> {
    const now = this.#options.clock.now();
    if (Math.abs(now - found.verifiedAt) > VERIFIED_FOR) found.verification = undefined;
    if (found.verification !== undefined) return;
    found.verification = await this.#unverified(digest, found, file);
    found.verifiedAt = now;
  }

  /** The state with which a blob is checked while it is read. */
  async #unverified(digest: Digest, found: Entry, file: FileHandle): Promise<Entry['verification']> {
    // A blob without a map is small, and is checked whole: it may have been cut short.
    const hasMap = !isImplied(digest, new ChunkLayout(found.size));
    const map = hasMap ? await readChunkMap(this.#folder.chunkMap(digest)) : undefined;
    if (map !== undefined && map.layout.size === found.size && map.present.full) return unverifiedBy(map);
    const { whole, chunks } = await this.#options.files.survey({ fd: file.fd, size: found.size }, digest);
    if (whole !== digestHex(digest)) {
      throw new WeirError('store_corrupt', 'its content does not have its digest');
    }
    if (!hasMap) return 'verified';
    const rebuilt = ChunkMap.full(new ChunkLayout(found.size), chunks);
    try {
      await writeFile(this.#folder.chunkMap(digest), rebuilt.encode(), { mode: FILE_MODE });
    } catch (error) {
      this.#options.onProblem?.(`cannot keep the chunk map of ${digest}: ${errorMessage(error)}`);
    }
    return 'verified';
  }

  async delete(digest: Digest): Promise<boolean> {
    const isKnown = this.#blobs.remove(digest);
    await rm(this.#folder.blob(digest), WHATEVER);
    await rm(this.#folder.chunkMap(digest), WHATEVER);
    return isKnown;
  }

  async resume(blob: RegistryBlob): Promise<Ingest | undefined> {
    const name = partialName(blob);
    if (!this.#partials.has(name)) return undefined;
    const map = await readChunkMap(this.#folder.partialChunkMap(name));
    if (map === undefined) {
      await this.#removePartial(name);
      return undefined;
    }
    return this.#start(blob, map, 'r+');
  }

  ingest(blob: RegistryBlob, size: number): Promise<Ingest> {
    return this.#space.inTurn(() => this.#admit(blob, size));
  }

  async #admit(blob: RegistryBlob, size: number): Promise<Ingest> {
    const resumed = await this.resume(blob);
    if (resumed !== undefined) {
      if (resumed.layout.size === size) return resumed;
      await resumed[Symbol.asyncDispose]();
      // Another size for the same digest: none of its bytes can be trusted.
      await this.#removePartial(partialName(blob));
    }
    await this.#space.admit(blob, size);
    return this.#start(blob, new ChunkMap(new ChunkLayout(size)), 'w+');
  }

  async #start(blob: RegistryBlob, map: ChunkMap, flags: 'r+' | 'w+'): Promise<FsIngest> {
    const name = partialName(blob);
    if (this.#ingests.has(name)) {
      throw new WeirError(
        'store_full',
        `the partial blob of ${blob.digest} is still in use by an earlier pull`,
      );
    }
    await using files = new AsyncDisposableStack();
    try {
      const data = files.use(await open(this.#folder.partial(name), flags, FILE_MODE));
      const chunks = isImplied(blob.digest, map.layout)
        ? undefined
        : files.use(await open(this.#folder.partialChunkMap(name), flags, FILE_MODE));
      if (flags === 'w+' && chunks !== undefined) {
        await data.truncate(map.layout.size);
        await chunks.write(map.encode(), 0);
      }
      const ingest = new FsIngest(blob, map, { data, chunks, bytes: this.#options.files }, this);
      this.#ingests.set(name, ingest);
      await ingest.recover();
      this.#partials.delete(name);
      files.move(); // from here on the ingest closes them
      return ingest;
    } catch (cause) {
      this.#ingests.delete(name);
      const full = systemCode(cause) === 'ENOSPC' || systemCode(cause) === 'EDQUOT';
      const code = full ? 'store_full' : 'store_unusable';
      throw new WeirError(code, `cannot start a partial blob: ${errorMessage(cause)}`, { cause });
    }
  }

  async publish(ingest: FsIngest): Promise<void> {
    const { digest } = ingest;
    const name = partialName(ingest);
    if (this.#blobs.get(digest) !== undefined) {
      await this.#removePartial(name); // another registry's pull of this digest was quicker: one copy is enough
      return;
    }
    // The map goes first: a blob without one would have to be read whole before it is served.
    const { layout } = ingest;
    const { size } = layout;
    if (!isImplied(digest, layout))
      await rename(this.#folder.partialChunkMap(name), this.#folder.chunkMap(digest));
    await rename(this.#folder.partial(name), this.#folder.blob(digest));
    this.#blobs.add(digest, size, this.#options.clock.now(), 'verified');
    this.#options.onCommit?.({ digest, size });
  }

  released(ingest: FsIngest, committed: boolean): void {
    const name = partialName(ingest);
    this.#ingests.delete(name);
    if (committed) return;
    const { presentBytes: bytes, registry } = ingest;
    this.#partials.set(name, { bytes, lastUsed: this.#options.clock.now(), registry });
  }

  makeRoom({ registry }: FsIngest, bytes: number): Promise<void> {
    return this.#space.inTurn(() => this.#space.grow(registry, bytes));
  }

  #holdings(): Holdings {
    const isKnown = this.#options.hasDelivered ?? ((): boolean => true);
    const arriving = [...this.#ingests.values()]
      .filter(({ committed }) => !committed)
      .map(({ registry, room, layout }) => ({ registry, room, size: layout.size }));
    const partials = [...this.#partials].map(([name, { bytes, lastUsed, registry }]) => {
      return { name, bytes, lastUsed, registry };
    });
    const { bytes: blobBytes } = this.#blobs;
    return { isKnown, arriving, partials, blobBytes, blobs: () => this.#blobs.list() };
  }

  async #evict({ digest, partial }: Victim): Promise<void> {
    if (partial !== undefined) return this.#removePartial(partial);
    const size = this.#blobs.get(digest)?.size ?? 0;
    if (await this.delete(digest)) this.#options.onEvict?.({ digest, size });
  }

  async #removePartial(name: string): Promise<void> {
    this.#partials.delete(name);
    await rm(this.#folder.partial(name), WHATEVER);
    await rm(this.#folder.partialChunkMap(name), WHATEVER);
  }

  usage(): StoreUsage {
    const { bytes: blobBytes, count: blobs } = this.#blobs;
    let partialBytes = 0;
    for (const { bytes } of this.#partials.values()) partialBytes += bytes;
    for (const { committed, room } of this.#ingests.values()) if (!committed) partialBytes += room;
    const partials = this.#partials.size + this.#ingests.size;
    return { blobs, blobBytes, partials, partialBytes, quota: this.#space.quota };
  }

  /** Closes blobs that are still arriving; their bytes are kept for the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const ingest of this.#ingests.values()) await ingest[Symbol.asyncDispose]();
  }
}
