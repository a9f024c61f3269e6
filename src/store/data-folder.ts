/**
 * The layout of the data folder; folders have mode 0700, files 0600:
 *
 * ```
 * blobs/<algorithm>/<hex>          committed blobs
 * chunks/<algorithm>/<hex>         their chunk maps
 * partial/<algorithm>-<hex>.<r>        blobs that are arriving, sparse; <r> stands for their registry
 * partial/<algorithm>-<hex>.<r>.chunks their chunk maps
 * import/                          a layer that an import has not hashed yet
 * imports.json                     what `weir import` has brought (import-records.ts)
 * import.token                     the secret of the command that brings it, made anew at each start
 * admin-token                      allows changes by the admin address (daemon/admin-token.ts)
 * catalog.db                       facts about repositories (catalog.ts); its lock is the folder's lock
 * ```
 */
import { hash } from 'node:crypto';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode, WeirError } from '../util/errors.ts';
import { digestAlgorithm, digestHex, tryParseDigest, type Digest } from '../oci/digest.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';

export const FOLDER_MODE = 0o700;
export const FILE_MODE = 0o600;

/** Hexadecimal digits that stand for a registry: 64 bits of its sha256. */
const REGISTRY_DIGITS = 16;
const PARTIAL = /^(sha(?:256|512)-[0-9a-f]+)\.[0-9a-f]{16}$/;

/** The file name of a partial blob. Each registry has its own: bytes of one must not be taken for another's. */
export function partialName({ registry, digest }: RegistryBlob): string {
  const mark = hash('sha256', registry, 'hex').slice(0, REGISTRY_DIGITS);
  return `${digestAlgorithm(digest)}-${digestHex(digest)}.${mark}`;
}

/** Whether this is the file name of a partial blob, and not of a chunk map or a foreign file. */
export function isPartialName(name: string): boolean {
  const [, digest] = PARTIAL.exec(name) ?? [];
  return digest !== undefined && tryParseDigest(digest.replace('-', ':')) !== undefined;
}

/** The registry's part of the name of a partial blob. */
export function registryMark(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1);
}

export class DataFolder {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** @throws WeirError `store_unusable` if the folder cannot be made or is not ours */
  async create(): Promise<void> {
    try {
      for (const path of [
        '',
        'blobs/sha256',
        'blobs/sha512',
        'chunks/sha256',
        'chunks/sha512',
        'partial',
        'import',
      ]) {
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

  get imports(): string {
    return join(this.root, 'imports.json');
  }

  get arrivingImports(): string {
    return join(this.root, 'import');
  }

  get adminToken(): string {
    return join(this.root, 'admin-token');
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

  /** @param name from {@link partialName} */
  partial(name: string): string {
    return join(this.partials, name);
  }

  partialChunkMap(name: string): string {
    return `${this.partial(name)}.chunks`;
  }
}
