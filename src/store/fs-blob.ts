/**
 * Reads a committed blob. A blob that was on the disk at the start is checked chunk by chunk before it is handed
 * out. Without that, rot on the disk or a lost write would brick a pull: the runtime would get the same wrong bytes
 * again and again.
 */
import type { FileHandle } from 'node:fs/promises';
import { hash } from 'node:crypto';
import type { ChunkCheck, FileContent } from '../util/content.ts';
import { WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { ChunkMap } from './chunk-map.ts';
import { readFully } from './file.ts';
import type { Blob } from './store.ts';

/** State of a blob that this process has not verified yet; shared by its readers in all threads. */
export interface Unverified {
  readonly map: ChunkMap;
  readonly check: ChunkCheck;
}

/** @param map of the whole blob */
export function unverifiedBy(map: ChunkMap): Unverified {
  const hashes = new SharedArrayBuffer(map.hashes.length);
  new Uint8Array(hashes).set(map.hashes);
  const { chunkSize, count } = map.layout;
  return { map, check: { chunkSize, hashes, checked: new SharedArrayBuffer(count) } };
}

export interface FsBlobOptions {
  readonly digest: Digest;
  readonly size: number;
  readonly file: FileHandle;
  readonly unverified: Unverified | undefined;
  /** Reads its chunk map; undefined if it is missing or damaged. */
  readonly chunkMap: () => Promise<ChunkMap | undefined>;
  /** Called once, when the content is found to be wrong. */
  readonly onCorrupt: () => Promise<void>;
  readonly onClose: () => void;
}

export class FsBlob implements Blob {
  readonly source = 'store';
  readonly #options: FsBlobOptions;
  #scratch: Buffer | undefined;
  #closed = false;

  constructor(options: FsBlobOptions) {
    this.#options = options;
  }

  get digest(): Digest {
    return this.#options.digest;
  }

  get size(): number {
    return this.#options.size;
  }

  get content(): FileContent {
    const { file, size, unverified } = this.#options;
    return { fd: file.fd, size, check: unverified?.check };
  }

  corrupt(): Promise<void> {
    return this.#options.onCorrupt();
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    const length = Math.min(target.length, this.size - position);
    if (length <= 0) return 0;
    const { file, unverified } = this.#options;
    if (unverified !== undefined) await this.#check(unverified, position, position + length);
    const { bytesRead } = await file.read(target, 0, length, position);
    if (bytesRead === 0) await this.#corrupt('is shorter than when it was committed');
    return bytesRead;
  }

  async chunkHashes(): Promise<Uint8Array | undefined> {
    const map = this.#options.unverified?.map ?? (await this.#options.chunkMap());
    return map?.layout.size === this.size && map.present.full ? map.hashes : undefined;
  }

  async #check({ map, check }: Unverified, start: number, end: number): Promise<void> {
    const { layout } = map;
    const checked = new Uint8Array(check.checked);
    for (let index = layout.indexOf(start); index < layout.count && layout.start(index) < end; index++) {
      if (checked[index] === 1) continue;
      this.#scratch ??= Buffer.allocUnsafe(layout.chunkSize);
      const bytes = this.#scratch.subarray(0, layout.length(index));
      const whole = await readFully(this.#options.file, bytes, layout.start(index));
      if (!whole || !hash('sha256', bytes, 'buffer').equals(map.hash(index))) {
        await this.#corrupt(`has a damaged chunk ${index}`);
      }
      checked[index] = 1;
    }
  }

  async #corrupt(problem: string): Promise<never> {
    await this.#options.onCorrupt();
    throw new WeirError('store_corrupt', `the stored blob ${this.digest} ${problem}; it was dropped`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#options.file.close();
    this.#options.onClose();
  }
}
