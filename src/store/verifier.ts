/** Tells whether a blob on the disk may be handed out, and with which checks. */
import { type FileHandle, writeFile } from 'node:fs/promises';
import { MINUTE, type Clock } from '../util/clock.ts';
import { errorMessage, WeirError } from '../util/errors.ts';
import { digestHex, type Digest } from '../oci/digest.ts';
import { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { Entry } from './blob-index.ts';
import type { ByteFiles } from './byte-files.ts';
import { ChunkMap, isImplied } from './chunk-map.ts';
import { FILE_MODE, type DataFolder } from './data-folder.ts';
import { unverifiedBy } from './fs-blob.ts';
import { readChunkMap } from './scan.ts';

/** Milliseconds for which a blob that was found right is read unchecked. */
const VERIFIED_FOR = 10 * MINUTE;

export interface VerifierOptions {
  readonly folder: DataFolder;
  readonly clock: Clock;
  readonly files: ByteFiles;
  readonly onProblem?: ((message: string) => void) | undefined;
}

export class Verifier {
  readonly #options: VerifierOptions;

  constructor(options: VerifierOptions) {
    this.#options = options;
  }

  /**
   * A blob that was found right long ago is checked again: it may have left the page cache, and rotted on the disk.
   * @throws WeirError `store_corrupt`
   */
  async verify(digest: Digest, found: Entry, file: FileHandle): Promise<void> {
    const now = this.#options.clock.now();
    if (Math.abs(now - found.verifiedAt) > VERIFIED_FOR) found.verification = undefined;
    if (found.verification !== undefined) return;
    found.verification = await this.#unverified(digest, found, file);
    found.verifiedAt = now;
  }

  /** The state with which a blob is checked while it is read. */
  async #unverified(digest: Digest, found: Entry, file: FileHandle): Promise<Entry['verification']> {
    const { folder, files, onProblem } = this.#options;
    // A blob without a map is small, and is checked whole: it may have been cut short.
    const hasMap = !isImplied(digest, new ChunkLayout(found.size));
    const map = hasMap ? await readChunkMap(folder.chunkMap(digest)) : undefined;
    if (map !== undefined && map.layout.size === found.size && map.present.full) return unverifiedBy(map);
    const { whole, chunks } = await files.survey({ fd: file.fd, size: found.size }, digest);
    if (whole !== digestHex(digest)) {
      throw new WeirError('store_corrupt', 'its content does not have its digest');
    }
    if (!hasMap) return 'verified';
    const rebuilt = ChunkMap.full(new ChunkLayout(found.size), chunks);
    try {
      await writeFile(folder.chunkMap(digest), rebuilt.encode(), { mode: FILE_MODE });
    } catch (error) {
      onProblem?.(`cannot keep the chunk map of ${digest}: ${errorMessage(error)}`);
    }
    return 'verified';
  }
}
