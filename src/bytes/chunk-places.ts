/**
 * The memory of a byte worker for chunks on their way: a chunk has a place from its first byte until it is written or given
 * up. Memory is used again, because fresh memory costs more than the rest of receiving a chunk: the kernel clears each page
 * at its first touch (0.4 CPU seconds per GiB).
 */
import { SECOND } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { ChunkBuffers } from './chunk-buffers.ts';

/** Milliseconds for which memory is kept that nobody uses: longer than the pauses between the chunks of an image. */
const KEEP = 2 * SECOND;

export class ChunkPlaces {
  readonly #memory = new ChunkBuffers();
  readonly #taken = new Map<number, Uint8Array<ArrayBuffer>>();
  #next = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param length bytes */
  take(length: number): { readonly place: number; readonly bytes: Uint8Array<ArrayBuffer> } {
    const place = this.#next++;
    const bytes = this.#memory.take(length);
    this.#taken.set(place, bytes);
    return { place, bytes };
  }

  /** The bytes at a place. @throws WeirError `internal` */
  at(place: number): Uint8Array<ArrayBuffer> {
    const bytes = this.#taken.get(place);
    if (bytes === undefined) throw new WeirError('internal', `nothing is at place ${place}`);
    return bytes;
  }

  /** Nobody needs the place any more. Harmless if it was given back before. */
  give(place: number): void {
    const bytes = this.#taken.get(place);
    if (bytes === undefined) return;
    this.#taken.delete(place);
    this.#memory.give(bytes);
    if (this.#taken.size === 0) this.#clearLater();
  }

  /** Frees the memory of a worker that has had nothing to do for a while. */
  #clearLater(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#taken.size === 0) this.#memory.clear();
    }, KEEP).unref();
  }
}
