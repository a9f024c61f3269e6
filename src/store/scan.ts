/** Lists the contents of a data folder, at the start of a node. */
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { systemCode } from '../util/errors.ts';
import { tryParseDigest, type Digest } from '../oci/digest.ts';
import { ChunkMap } from './chunk-map.ts';
import { isPartialName, type DataFolder } from './data-folder.ts';

/** Bytes of a block of `st_blocks` (POSIX does not say; Linux has 512 for all file systems). */
const BLOCK_BYTES = 512;

/** Error codes of reading a missing file, a folder, or a dangling link. */
const NO_FILE: ReadonlySet<string> = new Set(['ENOENT', 'EISDIR', 'ELOOP', 'ENOTDIR']);

export interface FoundBlob {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly lastUsed: number;
}

export interface FoundPartial {
  /** The name of its file. */
  readonly name: string;
  /** Bytes that it takes on the disk. */
  readonly bytes: number;
  /** Milliseconds since the epoch. */
  readonly lastUsed: number;
}

export async function* scanBlobs(folder: DataFolder): AsyncIterable<FoundBlob> {
  for (const algorithm of ['sha256', 'sha512'] as const) {
    for (const hex of await filesIn(folder.blobs(algorithm))) {
      const digest = tryParseDigest(`${algorithm}:${hex}`);
      if (digest === undefined) continue;
      const { size, mtimeMs } = await stat(folder.blob(digest));
      yield { digest, size, lastUsed: mtimeMs };
    }
  }
}

export async function* scanPartials(folder: DataFolder): AsyncIterable<FoundPartial> {
  for (const name of await filesIn(folder.partials)) {
    if (!isPartialName(name)) continue;
    const { mtimeMs, blocks } = await stat(folder.partial(name));
    yield { name, bytes: blocks * BLOCK_BYTES, lastUsed: mtimeMs };
  }
}

/**
 * Removes entries of the folder of partial blobs that are neither a partial blob nor its chunk map. An earlier version
 * named partial blobs after their digest alone, so their registry is not known.
 * @returns the number of entries
 */
export async function removeStrangers(folder: DataFolder): Promise<number> {
  let removed = 0;
  const files = new Set(await filesIn(folder.partials));
  for (const name of await readdir(folder.partials)) {
    if (files.has(name) && isPartialName(name.replace(/\.chunks$/, ''))) continue;
    await rm(folder.partial(name), { recursive: true, force: true });
    removed++;
  }
  return removed;
}

/** Names of regular files: a link may lead out of the folder, or nowhere, which would keep the node from starting. */
async function filesIn(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
}

/** The chunk map in the file at `path`; undefined if it is missing or damaged. */
export async function readChunkMap(path: string): Promise<ChunkMap | undefined> {
  try {
    return ChunkMap.decode(await readFile(path));
  } catch (error) {
    if (NO_FILE.has(systemCode(error) ?? '')) return undefined;
    throw error;
  }
}
