/**
 * The layout of the data folder, all of it 0700 and 0600:
 *
 * ```
 * blobs/<algorithm>/<hex>          committed blobs
 * chunks/<algorithm>/<hex>         their chunk maps
 * partial/<algorithm>-<hex>        blobs that are arriving, sparse
 * partial/<algorithm>-<hex>.chunks their chunk maps
 * catalog.db                       what is remembered of repositories; its lock is the folder's lock
 * ```
 */
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode, WeirError } from '../errors.ts';
import { digestAlgorithm, digestHex, tryParseDigest, type Digest } from '../oci/digest.ts';

export const FOLDER_MODE = 0o700;
export const FILE_MODE = 0o600;

export class DataFolder {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** @throws WeirError `store_unusable` where the folder cannot be made or is not ours */
  async create(): Promise<void> {
    try {
      for (const path of ['', 'blobs/sha256', 'blobs/sha512', 'chunks/sha256', 'chunks/sha512', 'partial']) {
        await mkdir(join(this.root, path), { recursive: true, mode: FOLDER_MODE });
      }
      await chmod(this.root, FOLDER_MODE);
    } catch (cause) {
      const isDenied = ['EACCES', 'EPERM'].includes(systemCode(cause) ?? '');
      const hint = isDenied ? ': run this as root, or choose another one with --data-dir' : '';
      throw new WeirError('store_unusable', `the data folder ${this.root} cannot be used${hint}`, { cause });
    }
  }

  get catalog(): string {
    return join(this.root, 'catalog.db');
  }

  get partials(): string {
    return join(this.root, 'partial');
  }

  blobs(algorithm: 'sha256' | 'sha512'): string {
    return join(this.root, 'blobs', algorithm);
  }

  blob(digest: Digest): string {
    return join(this.blobs(digestAlgorithm(digest)), digestHex(digest));
  }

  chunkMap(digest: Digest): string {
    return join(this.root, 'chunks', digestAlgorithm(digest), digestHex(digest));
  }

  partial(digest: Digest): string {
    return join(this.partials, `${digestAlgorithm(digest)}-${digestHex(digest)}`);
  }

  partialChunkMap(digest: Digest): string {
    return `${this.partial(digest)}.chunks`;
  }

  /** The digest whose partial blob the file named `name` is; undefined for chunk maps and strangers. */
  static partialDigest(name: string): Digest | undefined {
    return tryParseDigest(name.replace('-', ':'));
  }
}
