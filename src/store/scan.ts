/** Reads what a data folder holds, at the start of a node. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import { tryParseDigest, type Digest } from '../oci/digest.ts';
import { ChunkMap } from './chunk-map.ts';
import { DataFolder } from './data-folder.ts';

/** Bytes of a block of `st_blocks` (POSIX leaves it open; Linux has 512 for all file systems). */
const BLOCK_BYTES = 512;

export interface FoundFile {
  readonly digest: Digest;
  /** Bytes: of a blob its size, of a partial one what it takes of the disk. */
  readonly bytes: number;
  /** Milliseconds since the epoch. */
  readonly lastUsed: number;
}

export async function* scanBlobs(folder: DataFolder): AsyncIterable<FoundFile> {
  for (const algorithm of ['sha256', 'sha512'] as const) {
    for (const hex of await readdir(folder.blobs(algorithm))) {
      const digest = tryParseDigest(`${algorithm}:${hex}`);
      if (digest === undefined) continue;
      const { size, mtimeMs } = await stat(folder.blob(digest));
      yield { digest, bytes: size, lastUsed: mtimeMs };
    }
  }
}

export async function* scanPartials(folder: DataFolder): AsyncIterable<FoundFile> {
  for (const name of await readdir(folder.partials)) {
    const digest = DataFolder.partialDigest(name);
    if (digest === undefined) continue;
    const { mtimeMs, blocks } = await stat(join(folder.partials, name));
    yield { digest, bytes: blocks * BLOCK_BYTES, lastUsed: mtimeMs };
  }
}

/** The chunk map in the file at `path`; undefined where it is not there or damaged. */
export async function readChunkMap(path: string): Promise<ChunkMap | undefined> {
  try {
    return ChunkMap.decode(await readFile(path));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
