/** Keeps the chunk map of an arriving blob on the disk, a little later than in memory. */
import type { FileHandle } from 'node:fs/promises';
import { MILLISECOND } from '../util/clock.ts';
import type { ChunkMap } from './chunk-map.ts';
import { writeFully } from './file.ts';

/** Milliseconds for which the file may be behind: a write for each chunk would cost two more calls. */
const DELAY = 20 * MILLISECOND;

export class ChunkMapFile {
  readonly #file: FileHandle | undefined;
  readonly #map: () => ChunkMap;
  #timer: NodeJS.Timeout | undefined;
  /** Saves run one after the other. */
  #saved: Promise<void> = Promise.resolve();

  /** @param file undefined if the blob needs none */
  constructor(file: FileHandle | undefined, map: () => ChunkMap) {
    this.#file = file;
    this.#map = map;
  }

  /**
   * The map has changed. If it cannot be written, nothing but time is lost: its chunks are fetched again after a restart.
   */
  saveSoon(): void {
    if (this.#file === undefined) return;
    this.#timer ??= setTimeout(() => void this.save().catch(() => undefined), DELAY);
  }

  /** Settles when the map as it is now is in the file. @throws the system's error */
  async save(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const file = this.#file;
    if (file === undefined) return;
    const saved = this.#saved.then(() => writeFully(file, [this.#map().encode()], 0));
    this.#saved = saved.catch(() => undefined); // the caller gets the error; the next save starts afresh
    await saved;
  }

  /** Settles when nothing is left to be written, or could not be. */
  async settle(): Promise<void> {
    if (this.#timer !== undefined) await this.save().catch(() => undefined);
    await this.#saved;
  }
}
