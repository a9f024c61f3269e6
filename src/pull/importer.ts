/**
 * Brings the images of an archive into the store, and writes down what they are called (`weir import`). Their blobs are
 * pinned from their first byte on. If anything is wrong, nothing is written down, and what came is evicted some time.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArchivedImage, BlobSink } from '../archive/archive-content.ts';
import { readImageArchive } from '../archive/image-archive.ts';
import { MIB, type Clock } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { digestOf, parseDigest, type Digest } from '../oci/digest.ts';
import { formatImageReference, type ImageReference } from '../oci/reference.ts';
import type { RegistryHost } from '../oci/repository.ts';
import { FILE_MODE, type DataFolder } from '../store/data-folder.ts';
import { nameOf, type ImportRecord, type ImportRecords } from '../store/import-records.ts';
import { writeError } from '../store/file.ts';
import type { Store } from '../store/store.ts';

/** The registry of blobs that arrive from archives: which one they are for is known at the end. No host has this name. */
export const ARCHIVE: RegistryHost = 'archive.invalid' as RegistryHost;
/** Share of the quota for imports: the rest is for pulls, which could evict nothing. */
const IMPORTED_SHARE = 0.75;
/** Bytes of a file without a digest in its name that are held in memory; larger ones are hashed on the disk. */
const HELD = MIB;

export interface ImporterOptions {
  /** `access.trust-imported` */
  readonly isTrusted: boolean;
  readonly store: Store;
  readonly records: ImportRecords;
  readonly folder: DataFolder;
  readonly clock: Clock;
  readonly imported: (records: readonly ImportRecord[]) => void;
  readonly removed: (record: ImportRecord) => void;
}

export class Importer {
  readonly #options: ImporterOptions;
  #isRunning = false;

  constructor(options: ImporterOptions) {
    this.#options = options;
  }

  /** What was imported, in the order of the names. */
  get all(): readonly ImportRecord[] {
    return this.#options.records.all;
  }

  get isTrusted(): boolean {
    return this.#options.isTrusted;
  }

  /** @throws WeirError `import_refused` if the setting does not allow imports */
  check(): void {
    if (this.#options.isTrusted) return;
    const rule = 'it would answer everybody in the cluster for them without asking a registry';
    throw new WeirError(
      'import_refused',
      `this node takes no imported images, as access.trust-imported is "no": with "yes" ${rule}`,
    );
  }

  /**
   * @param name of the archive's one image; undefined: each is called as in the archive
   * @throws WeirError `import_refused`, `archive_invalid`, `digest_mismatch`, `store_full`, `store_unusable`; the error of
   *   the source
   */
  async run(
    source: AsyncIterable<Uint8Array>,
    name: ImageReference | undefined,
  ): Promise<readonly ImportRecord[]> {
    this.check();
    if (this.#isRunning) throw new WeirError('import_refused', 'another import is running: wait for its end');
    const { store, records, imported } = this.#options;
    this.#isRunning = true;
    try {
      await rm(this.#spool, { force: true, recursive: true }); // a killed node may have left it
      const sink: BlobSink = {
        keep: (digest, size, bytes) => this.#keep(digest, size, bytes),
        keepUnnamed: (size, bytes) => this.#keepUnnamed(size, bytes),
        read: (digest) => this.#read(digest),
      };
      const images = await readImageArchive(source, sink, store.usage().quota);
      const added = this.#recordsOf(images, name);
      await records.add(added);
      imported(added);
      return added;
    } finally {
      records.release();
      this.#isRunning = false;
    }
  }

  /** @throws WeirError `manifest_unknown` if it was not imported */
  async remove({ repository, reference }: ImageReference): Promise<ImportRecord> {
    const { records, removed } = this.#options;
    const record = reference.kind === 'tag' ? await records.remove(repository, reference.tag) : undefined;
    if (record === undefined) {
      const named = formatImageReference({ repository, reference });
      throw new WeirError('manifest_unknown', `${named} was not imported at this node`);
    }
    removed(record);
    return record;
  }

  #recordsOf(images: readonly ArchivedImage[], name: ImageReference | undefined): readonly ImportRecord[] {
    const [only] = images;
    if (name !== undefined && images.length > 1) {
      const problem = `the archive has ${images.length} images: one name (--name) cannot stand for all`;
      throw new WeirError('archive_invalid', problem);
    }
    const at = this.#options.clock.now();
    const added = new Map<string, ImportRecord>();
    for (const image of images) {
      const { digest, size, mediaType, blobs } = image;
      const names = image === only && name !== undefined ? [name] : image.names;
      if (names.length === 0) {
        throw new WeirError(
          'archive_invalid',
          `the archive has no name for the image ${digest}: give it one with --name`,
        );
      }
      for (const { repository, reference } of names) {
        if (reference.kind !== 'tag') {
          const named = formatImageReference({ repository, reference });
          throw new WeirError('archive_invalid', `${named} names a digest: give the image a tag with --name`);
        }
        const record = { repository, tag: reference.tag, digest, size, mediaType, at, blobs };
        const before = added.get(nameOf(record));
        if (before !== undefined && before.digest !== digest)
          throw new WeirError(
            'archive_invalid',
            `the archive has two images with the name ${nameOf(record)}`,
          );
        added.set(nameOf(record), record);
      }
    }
    return [...added.values()];
  }

  async #keep(digest: Digest, size: number, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const { store, records } = this.#options;
    if (!records.isPinned(digest)) this.#checkRoom(size);
    records.hold({ digest, size });
    await using stored = await store.open(digest);
    if (stored !== undefined) {
      if (stored.size !== size)
        throw new WeirError(
          'digest_mismatch',
          `the archive has other bytes than ${digest} under that digest`,
        );
      for await (const _ of bytes); // the archive goes on behind them
      return;
    }
    await using ingest = await store.ingest({ registry: ARCHIVE, digest }, size);
    let offset = 0;
    for await (const part of bytes) {
      await ingest.write(offset, [part]);
      offset += part.length;
    }
    await ingest.commit();
  }

  #checkRoom(size: number): void {
    const { store, records } = this.#options;
    const room = Math.floor(IMPORTED_SHARE * store.usage().quota);
    if (records.pinnedBytes + size <= room) return;
    const problem = `imported images would take more than ${room} bytes, three quarters of store.quota`;
    throw new WeirError('store_full', `${problem}: raise it, or remove some with weir import --remove`);
  }

  async #keepUnnamed(size: number, bytes: AsyncIterable<Uint8Array>): Promise<Digest> {
    if (size <= HELD) {
      const whole = Buffer.concat(await Array.fromAsync(bytes));
      const digest = digestOf(whole);
      await this.#keep(digest, size, one(whole));
      return digest;
    }
    this.#checkRoom(size);
    try {
      const digest = await hashInto(this.#spool, bytes);
      await this.#keep(digest, size, createReadStream(this.#spool, { highWaterMark: MIB }));
      return digest;
    } finally {
      await rm(this.#spool, { force: true });
    }
  }

  /** The file of a layer whose digest is not known yet. */
  get #spool(): string {
    return join(this.#options.folder.arrivingImports, 'layer');
  }

  async #read(digest: Digest): Promise<Uint8Array> {
    await using blob = await this.#options.store.open(digest);
    if (blob === undefined) throw new WeirError('store_corrupt', `${digest} was just stored and is gone`);
    const bytes = new Uint8Array(blob.size);
    for (let position = 0; position < bytes.length;)
      position += await blob.read(bytes.subarray(position), position);
    return bytes;
  }
}

/** Writes a file that is new, and resolves with its digest. */
async function hashInto(path: string, bytes: AsyncIterable<Uint8Array>): Promise<Digest> {
  const hash = createHash('sha256');
  await using file = await open(path, 'wx', FILE_MODE);
  for await (const part of bytes) {
    hash.update(part);
    try {
      await file.writeFile(part);
    } catch (cause) {
      throw writeError(cause);
    }
  }
  return parseDigest(`sha256:${hash.digest('hex')}`);
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield await Promise.resolve(bytes);
}
