/**
 * The store on disk: committed blobs, arriving blobs, and the quota that bounds both.
 *
 * It owns the data folder (whose lock the catalog holds) and an index of it in memory, read once at the start.
 */
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { errorMessage, systemCode, WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import type { RegistryHost } from '../oci/repository.ts';
import { ChunkLayout } from '../protocol/chunk-layout.ts';
import { BlobIndex } from './blob-index.ts';
import { ChunkMap, impliedMap, isImplied } from './chunk-map.ts';
import { FILE_MODE, partialName, type DataFolder } from './data-folder.ts';
import { Disk } from './disk.ts';
import { FsBlob } from './fs-blob.ts';
import type { FsStoreOptions } from './fs-store-options.ts';
import { FsIngest } from './fs-ingest.ts';
import type { IngestOwner } from './ingest-owner.ts';
import { LastUse } from './last-use.ts';
import { Oversized } from './oversized.ts';
import type { Holdings } from './room.ts';
import { Space, type OversizedHoldings, type Victim } from './space.ts';
import { readChunkMap, removeStrangers, scanBlobs, scanPartials } from './scan.ts';
import type { Blob, BlobInfo, Ingest, Store, StoreUsage } from './store.ts';
import { StoreKeeper } from './store-keeper.ts';
import { Verifier } from './verifier.ts';
import { WriteState } from './write-state.ts';

/** Removes a file that may be gone, or that may have been replaced by a folder. */
const WHATEVER = { force: true, recursive: true } as const;

interface Partial {
  readonly bytes: number;
  readonly lastUsed: number;
  /** Undefined for a partial blob of an earlier run. */
  readonly registry: RegistryHost | undefined;
  readonly isOversized: boolean;
}

export class FsStore implements Store, IngestOwner {
  readonly name = 'store';
  readonly lastUse: LastUse;
  readonly #options: FsStoreOptions;
  readonly #folder: DataFolder;
  readonly #blobs: BlobIndex;
  /** By {@link partialName}, as {@link #ingests}. */
  readonly #partials: Map<string, Partial> = new Map();
  readonly #ingests: Map<string, FsIngest> = new Map();
  readonly #disk: Disk;
  readonly #space: Space;
  readonly #oversized: Oversized;
  readonly #verifier: Verifier;
  readonly #writing: WriteState;
  /** What an operator does with the store. */
  readonly keeper: StoreKeeper;

  private constructor(options: FsStoreOptions) {
    this.#options = options;
    const { folder, quota, pins, onDisk: onChange, isPinned, clock } = options;
    this.#folder = folder;
    this.#blobs = new BlobIndex(
      (digest) => pins?.has(digest) === true || isPinned?.(digest) === true,
      (size) => this.#oversized.is(size),
    );
    this.#disk = new Disk({ ...options, root: folder.root, onChange });
    const evict = (victim: Victim): Promise<void> => this.#evict(victim);
    const holdings = (): Holdings => this.#holdings();
    const oversized = (): OversizedHoldings => this.#oversized.holdings;
    this.#space = new Space({ disk: this.#disk, quota, holdings, oversized, evict });
    this.#oversized = new Oversized({
      clock,
      quota: () => this.#space.quota,
      blobs: this.#blobs,
      partials: this.#partials,
      ingests: this.#ingests,
      inTurn: (work) => this.#space.inTurn(work),
      evict,
      onProblem: options.onProblem,
    });
    this.lastUse = new LastUse({ ...options, blobs: this.#blobs });
    this.#verifier = new Verifier(options);
    this.#writing = new WriteState(options.onWritable);
    this.keeper = new StoreKeeper({
      blobs: this.#blobs,
      space: this.#space,
      pins,
      clock: options.clock,
      remove: (digest) => this.#evict({ digest }),
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
    if (strangers > 0) onProblem?.(`${strangers} files that are no partial blobs: dropped`);
    for await (const { name, bytes, lastUsed } of scanPartials(this.#folder)) {
      if (clock.now() - lastUsed > partialMaxAge) await this.#removePartial(name);
      else {
        const isOversized = this.#oversized.is(bytes);
        this.#partials.set(name, { bytes, lastUsed, registry: undefined, isOversized });
      }
    }
    await this.#space.shrink();
    this.#oversized.sweep();
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
    found.readers++;
    let file: FileHandle | undefined;
    try {
      file = await open(this.#folder.blob(digest), 'r');
      await this.#verifier.verify(digest, found, file);
    } catch (error) {
      found.readers--;
      await file?.close();
      this.#options.onProblem?.(`dropping ${digest}: ${errorMessage(error)}`);
      await this.#drop(digest);
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
        await this.#drop(digest);
      },
      onClose: () => found.readers--,
    });
  }

  async delete(digest: Digest): Promise<boolean> {
    return this.#options.isPinned?.(digest) === true ? false : this.#drop(digest);
  }

  async #drop(digest: Digest): Promise<boolean> {
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
      this.failed(cause);
      const full = systemCode(cause) === 'ENOSPC' || systemCode(cause) === 'EDQUOT';
      const code = full ? 'store_full' : 'store_unusable';
      throw new WeirError(code, `cannot start a partial blob: ${errorMessage(cause)}`, { cause });
    }
  }

  failed(cause: unknown): unknown {
    return this.#writing.failed(cause);
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
    this.#writing.succeeded(); // not before: a failing disk makes files, and takes no bytes
    this.#options.onCommit?.({ digest, size });
    this.#oversized.sweep();
  }

  released(ingest: FsIngest, committed: boolean): void {
    const name = partialName(ingest);
    this.#ingests.delete(name);
    if (committed) return;
    const { presentBytes: bytes, registry, layout } = ingest;
    const isOversized = this.#oversized.is(layout.size);
    this.#partials.set(name, { bytes, lastUsed: this.#options.clock.now(), registry, isOversized });
    this.#oversized.sweep();
  }

  makeRoom({ registry, layout }: FsIngest, bytes: number): Promise<void> {
    const isOversized = this.#oversized.is(layout.size);
    return this.#space.inTurn(() =>
      isOversized ? this.#space.growOversized(bytes) : this.#space.grow(registry, bytes),
    );
  }

  #holdings(): Holdings {
    const isKnown = this.#options.hasDelivered ?? ((): boolean => true);
    const arriving = [...this.#ingests.values()]
      .filter(({ committed, layout }) => !committed && !this.#oversized.is(layout.size))
      .map(({ registry, room, layout }) => ({ registry, room, size: layout.size }));
    const partials = [...this.#partials]
      .filter(([, { isOversized }]) => !isOversized)
      .map(([name, { bytes, lastUsed, registry }]) => ({ name, bytes, lastUsed, registry }));
    const { bytes: blobBytes } = this.#blobs;
    return { isKnown, arriving, partials, blobBytes, blobs: () => this.#blobs.ordinary() };
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
    const { bytes, oversizedBytes, count: blobs } = this.#blobs;
    const blobBytes = bytes + oversizedBytes;
    let partialBytes = 0;
    for (const partial of this.#partials.values()) partialBytes += partial.bytes;
    for (const { committed, room } of this.#ingests.values()) if (!committed) partialBytes += room;
    const partials = this.#partials.size + this.#ingests.size;
    const { quota } = this.#space;
    const { count: pins = 0, bytes: pinnedBytes = 0 } = this.#options.pins ?? {};
    const { space: disk } = this.#disk;
    const state = this.#writing.isWritable ? this.#disk.state : 'unwritable';
    return { blobs, blobBytes, partials, partialBytes, quota, pins, pinnedBytes, disk, state };
  }

  /** Closes blobs that are still arriving; their bytes are kept for the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#oversized[Symbol.dispose]();
    for (const ingest of this.#ingests.values()) await ingest[Symbol.asyncDispose]();
  }
}
