/**
 * The store on disk: committed blobs, blobs that are arriving, the quota that bounds both.
 *
 * It owns the data folder (whose lock the catalog holds) and an index of it in memory, read once at the start.
 * The time of last use is the blob file's mtime, so that eviction order survives a restart without a database.
 */
import type { FileHandle } from 'node:fs/promises';
import { open, rename, rm, statfs, utimes, writeFile } from 'node:fs/promises';
import { GIB, MIB, MINUTE, type Clock } from '../clock.ts';
import { errorMessage, systemCode, WeirError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { Bitfield } from './bitfield.ts';
import { ChunkLayout } from './chunk-layout.ts';
import { ChunkMap } from './chunk-map.ts';
import { FILE_MODE, type DataFolder } from './data-folder.ts';
import { planEviction, type EvictionCandidate } from './eviction.ts';
import { FsBlob } from './fs-blob.ts';
import { FsIngest, type IngestOwner } from './fs-ingest.ts';
import { rebuildChunkMap } from './rebuild.ts';
import { readChunkMap, scanBlobs, scanPartials } from './scan.ts';
import type { Blob, BlobInfo, Ingest, Store, StoreUsage } from './store.ts';

/** Left free on the disk for everybody else: a full disk makes the kubelet evict pods. */
const DISK_RESERVE: number = 256 * MIB;
const AUTO_QUOTA_MAX: number = 20 * GIB;
const AUTO_QUOTA_SHARE = 0.1;
/** A use is written to the file's mtime at most this often: eviction needs no finer order. */
const TOUCH_INTERVAL: number = 1 * MINUTE;

export interface FsStoreOptions {
  readonly folder: DataFolder;
  /** Bytes; `auto` is the smaller of 20 GiB and a tenth of the disk. */
  readonly quota: number | 'auto';
  /** Partial blobs that nobody went on with for this many milliseconds are dropped at the start. */
  readonly partialMaxAge: number;
  readonly clock: Clock;
  readonly onEvict?: (info: BlobInfo) => void;
  /** A blob is complete and can be opened. */
  readonly onCommit?: (info: BlobInfo) => void;
  /** A blob was found damaged and dropped, or a file could not be handled; for the log. */
  readonly onProblem?: (message: string) => void;
}

interface Entry {
  readonly size: number;
  lastUsed: number;
  touchedAt: number;
  /** Open readers. */
  pins: number;
  /** Undefined: not looked at yet in this process. */
  verification: 'verified' | { readonly map: ChunkMap; readonly checked: Bitfield } | undefined;
}

interface Partial {
  readonly bytes: number;
  readonly lastUsed: number;
}

export class FsStore implements Store, IngestOwner {
  readonly name = 'store';
  readonly #options: FsStoreOptions;
  readonly #folder: DataFolder;
  readonly #blobs: Map<Digest, Entry> = new Map();
  readonly #partials: Map<Digest, Partial> = new Map();
  readonly #ingests: Map<Digest, FsIngest> = new Map();
  #quota = 0;
  /** Blobs are admitted one after the other: two at once would be given the same free room. */
  #admission: Promise<unknown> = Promise.resolve();

  private constructor(options: FsStoreOptions) {
    this.#options = options;
    this.#folder = options.folder;
  }

  /** @throws WeirError `store_unusable` */
  static async open(options: FsStoreOptions): Promise<FsStore> {
    await options.folder.create();
    const store = new FsStore(options);
    await store.#load();
    return store;
  }

  async #load(): Promise<void> {
    const { quota, clock, partialMaxAge } = this.#options;
    const disk = await statfs(this.#folder.root);
    const auto = Math.min(AUTO_QUOTA_MAX, Math.floor(disk.blocks * disk.bsize * AUTO_QUOTA_SHARE));
    this.#quota = quota === 'auto' ? auto : quota;
    for await (const { digest, bytes, lastUsed } of scanBlobs(this.#folder)) {
      this.#blobs.set(digest, entry(bytes, lastUsed, undefined));
    }
    for await (const { digest, bytes, lastUsed } of scanPartials(this.#folder)) {
      if (clock.now() - lastUsed > partialMaxAge) await this.#removePartial(digest);
      else this.#partials.set(digest, { bytes, lastUsed });
    }
    await this.#makeRoom(0);
  }

  async stat(digest: Digest): Promise<BlobInfo | undefined> {
    const found = this.#blobs.get(digest);
    return found === undefined ? undefined : { digest, size: found.size };
  }

  async *list(): AsyncIterable<BlobInfo> {
    for (const [digest, { size }] of this.#blobs) yield { digest, size };
  }

  async open(digest: Digest): Promise<Blob | undefined> {
    const found = this.#blobs.get(digest);
    if (found === undefined) return undefined;
    found.pins++;
    let file: FileHandle | undefined;
    try {
      file = await open(this.#folder.blob(digest), 'r');
      found.verification ??= await this.#unverified(digest, found, file);
    } catch (error) {
      found.pins--;
      await file?.close();
      this.#options.onProblem?.(`dropping ${digest}: ${errorMessage(error)}`);
      await this.delete(digest);
      return undefined;
    }
    this.#touch(digest, found);
    return new FsBlob({
      digest,
      size: found.size,
      file,
      unverified: found.verification === 'verified' ? undefined : found.verification,
      chunkMap: this.#folder.chunkMap(digest),
      onCorrupt: async () => {
        this.#options.onProblem?.(`the stored blob ${digest} is damaged: dropped`);
        await this.delete(digest);
      },
      onClose: () => found.pins--,
    });
  }

  /** What is needed to check a blob of an earlier run while it is read. */
  async #unverified(digest: Digest, found: Entry, file: FileHandle): Promise<Entry['verification']> {
    const map = await readChunkMap(this.#folder.chunkMap(digest));
    if (map !== undefined && map.layout.size === found.size && map.present.full) {
      return { map, checked: new Bitfield(map.layout.count) };
    }
    const rebuilt = await rebuildChunkMap(digest, found.size, file);
    try {
      await writeFile(this.#folder.chunkMap(digest), rebuilt.encode(), { mode: FILE_MODE });
    } catch (error) {
      this.#options.onProblem?.(`cannot keep the chunk map of ${digest}: ${errorMessage(error)}`);
    }
    return 'verified';
  }

  #touch(digest: Digest, found: Entry): void {
    const now = this.#options.clock.now();
    found.lastUsed = now;
    if (now - found.touchedAt < TOUCH_INTERVAL) return;
    found.touchedAt = now;
    const time = new Date(now);
    utimes(this.#folder.blob(digest), time, time).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return; // evicted meanwhile
      this.#options.onProblem?.(`cannot note the use of ${digest}: ${errorMessage(error)}`);
    });
  }

  async delete(digest: Digest): Promise<boolean> {
    const known = this.#blobs.delete(digest);
    await rm(this.#folder.blob(digest), { force: true });
    await rm(this.#folder.chunkMap(digest), { force: true });
    return known;
  }

  async resume(digest: Digest): Promise<Ingest | undefined> {
    if (!this.#partials.has(digest)) return undefined;
    const map = await readChunkMap(this.#folder.partialChunkMap(digest));
    if (map === undefined) {
      await this.#removePartial(digest);
      return undefined;
    }
    return this.#start(digest, map, 'r+');
  }

  ingest(digest: Digest, size: number): Promise<Ingest> {
    const admitted = this.#admission.then(() => this.#admit(digest, size));
    this.#admission = admitted.catch(() => undefined); // its caller hears of it; the next one starts afresh
    return admitted;
  }

  async #admit(digest: Digest, size: number): Promise<Ingest> {
    const resumed = await this.resume(digest);
    if (resumed !== undefined) {
      if (resumed.layout.size === size) return resumed;
      await resumed[Symbol.asyncDispose]();
      await this.#removePartial(digest); // another size for one digest: nothing of it can be trusted
    }
    if (size > this.#quota) {
      throw new WeirError('store_full', `${digest} has ${size} bytes, the store's quota is ${this.#quota}`);
    }
    await this.#makeRoom(size);
    return this.#start(digest, new ChunkMap(new ChunkLayout(size)), 'w+');
  }

  async #start(digest: Digest, map: ChunkMap, flags: 'r+' | 'w+'): Promise<FsIngest> {
    if (this.#ingests.has(digest)) {
      throw new WeirError('store_full', `the partial blob of ${digest} is still in use by an earlier pull`);
    }
    await using files = new AsyncDisposableStack();
    try {
      const data = files.use(await open(this.#folder.partial(digest), flags, FILE_MODE));
      const chunks = files.use(await open(this.#folder.partialChunkMap(digest), flags, FILE_MODE));
      if (flags === 'w+') {
        await data.truncate(map.layout.size);
        await chunks.write(map.encode(), 0);
      }
      const ingest = new FsIngest(digest, map, { data, chunks }, this);
      this.#ingests.set(digest, ingest);
      await ingest.recover();
      this.#partials.delete(digest);
      files.move(); // the ingest closes them from here on
      return ingest;
    } catch (cause) {
      this.#ingests.delete(digest);
      const full = systemCode(cause) === 'ENOSPC' || systemCode(cause) === 'EDQUOT';
      const code = full ? 'store_full' : 'store_unusable';
      throw new WeirError(code, `cannot start a partial blob: ${errorMessage(cause)}`, { cause });
    }
  }

  async publish(ingest: FsIngest): Promise<void> {
    const { digest } = ingest;
    // The map goes first: a blob without one would have to be read whole before it is served.
    await rename(this.#folder.partialChunkMap(digest), this.#folder.chunkMap(digest));
    await rename(this.#folder.partial(digest), this.#folder.blob(digest));
    const { size } = ingest.layout;
    this.#blobs.set(digest, entry(size, this.#options.clock.now(), 'verified'));
    this.#options.onCommit?.({ digest, size });
  }

  released(ingest: FsIngest, committed: boolean): void {
    this.#ingests.delete(ingest.digest);
    if (committed) return;
    this.#partials.set(ingest.digest, { bytes: ingest.presentBytes, lastUsed: this.#options.clock.now() });
  }

  /** Evicts until `bytes` more fit both quota and disk. @throws WeirError `store_full` */
  async #makeRoom(bytes: number): Promise<void> {
    const usage = this.usage();
    const disk = await statfs(this.#folder.root);
    const overQuota = usage.blobBytes + usage.partialBytes + bytes - this.#quota;
    const overDisk = bytes === 0 ? 0 : bytes + DISK_RESERVE - disk.bavail * disk.bsize;
    const victims = planEviction(this.#candidates(), Math.max(overQuota, overDisk));
    if (victims === undefined) {
      if (bytes === 0) return; // at the start, with the rest pinned by nobody: nothing more can be done
      throw new WeirError('store_full', `no room for ${bytes} bytes: what is stored is in use`);
    }
    for (const digest of victims) await this.#evict(digest);
  }

  *#candidates(): Iterable<EvictionCandidate<Digest>> {
    for (const [key, { bytes, lastUsed }] of this.#partials) yield { key, bytes, lastUsed, pinned: false };
    for (const [key, { size, lastUsed, pins }] of this.#blobs) {
      yield { key, bytes: size, lastUsed, pinned: pins > 0 };
    }
  }

  async #evict(digest: Digest): Promise<void> {
    if (this.#partials.has(digest)) return this.#removePartial(digest);
    const size = this.#blobs.get(digest)?.size ?? 0;
    if (await this.delete(digest)) this.#options.onEvict?.({ digest, size });
  }

  async #removePartial(digest: Digest): Promise<void> {
    this.#partials.delete(digest);
    await rm(this.#folder.partial(digest), { force: true });
    await rm(this.#folder.partialChunkMap(digest), { force: true });
  }

  usage(): StoreUsage {
    let blobBytes = 0;
    for (const { size } of this.#blobs.values()) blobBytes += size;
    let partialBytes = 0;
    for (const { bytes } of this.#partials.values()) partialBytes += bytes;
    for (const ingest of this.#ingests.values()) if (!ingest.committed) partialBytes += ingest.layout.size;
    const partials = this.#partials.size + this.#ingests.size;
    return { blobs: this.#blobs.size, blobBytes, partials, partialBytes, quota: this.#quota };
  }

  /** Ends what is still arriving; its bytes are kept for the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const ingest of this.#ingests.values()) await ingest[Symbol.asyncDispose]();
  }
}

function entry(size: number, lastUsed: number, verification: Entry['verification']): Entry {
  return { size, lastUsed, touchedAt: lastUsed, pins: 0, verification };
}
