/** Makes the chunk map of a blob that has lost it, by reading the blob once. */
import type { FileHandle } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { WeirError } from '../errors.ts';
import { DigestVerifier, type Digest } from '../oci/digest.ts';
import { ChunkLayout } from './chunk-layout.ts';
import { ChunkMap } from './chunk-map.ts';
import { readFully } from './file.ts';

/** @throws WeirError `store_corrupt` where the blob is not what its digest says */
export async function rebuildChunkMap(digest: Digest, size: number, file: FileHandle): Promise<ChunkMap> {
  const map = new ChunkMap(new ChunkLayout(size));
  const verifier = new DigestVerifier(digest);
  const buffer = Buffer.allocUnsafe(map.layout.chunkSize);
  for (let index = 0; index < map.layout.count; index++) {
    const bytes = buffer.subarray(0, map.layout.length(index));
    if (!(await readFully(file, bytes, map.layout.start(index)))) break;
    verifier.update(bytes);
    map.set(index, createHash('sha256').update(bytes).digest());
  }
  if (!map.present.full || !verifier.matches()) {
    throw new WeirError('store_corrupt', 'its content is not what its digest says');
  }
  return map;
}
