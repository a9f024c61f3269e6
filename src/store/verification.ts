/** How a stored blob is checked when it is opened. */
import { type FileHandle, writeFile } from 'node:fs/promises';
import { errorMessage, WeirError } from '../util/errors.ts';
import { digestHex } from '../oci/digest.ts';
import { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { Entry } from './blob-index.ts';
import type { ByteFiles } from './byte-files.ts';
import { ChunkMap, isImplied } from './chunk-map.ts';
import { FILE_MODE, type DataFolder } from './data-folder.ts';
import { unverifiedBy } from './fs-blob.ts';
import { readChunkMap } from './scan.ts';
import type { BlobInfo } from './store.ts';

/**
 * The state with which a blob is checked while it is read: by its chunk map, or as a whole at once if it has none.
 * @throws WeirError `store_corrupt`
 */
export async function unverified(
  { digest, size }: BlobInfo,
  file: FileHandle,
  context: {
    readonly folder: DataFolder;
    readonly files: ByteFiles;
    readonly onProblem?: (message: string) => void;
  },
): Promise<Entry['verification']> {
  const { folder, files, onProblem } = context;
  // A blob without a map is small, and is checked whole: it may have been cut short.
  const hasMap = !isImplied(digest, new ChunkLayout(size));
  const map = hasMap ? await readChunkMap(folder.chunkMap(digest)) : undefined;
  if (map !== undefined && map.layout.size === size && map.present.full) return unverifiedBy(map);
  const { whole, chunks } = await files.survey({ fd: file.fd, size }, digest);
  if (whole !== digestHex(digest)) {
    throw new WeirError('store_corrupt', 'its content does not have its digest');
  }
  if (!hasMap) return 'verified';
  const rebuilt = ChunkMap.full(new ChunkLayout(size), chunks);
  try {
    await writeFile(folder.chunkMap(digest), rebuilt.encode(), { mode: FILE_MODE });
  } catch (error) {
    onProblem?.(`cannot keep the chunk map of ${digest}: ${errorMessage(error)}`);
  }
  return 'verified';
}
