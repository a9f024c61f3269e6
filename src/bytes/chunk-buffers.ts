/**
 * Memory that chunks are received into. It is used again, because fresh memory costs more than the rest of the
 * receiving side: the kernel clears each page at its first touch (0.4 CPU seconds per GiB).
 */
import { KIB, MIB } from '../util/clock.ts';
import { LIMITS } from '../transfer/limits.ts';

/** Bytes of a buffer below which a new one costs less than keeping it. */
const MIN_POOLED = 128 * KIB;
/** Bytes that are kept for the next chunks: what two downloads have in flight. */
const MAX_SPARE = 16 * MIB;

export class ChunkBuffers {
  /** By capacity: powers of two, as chunk sizes are. */
  readonly #spare = new Map<number, ArrayBuffer[]>();
  #spareBytes = 0;

  /** Bytes that are kept. */
  get spare(): number {
    return this.#spareBytes;
  }

  /** @param length bytes, at most {@link LIMITS.chunk} */
  take(length: number): Uint8Array<ArrayBuffer> {
    const capacity = capacityFor(length);
    const memory = this.#spare.get(capacity)?.pop();
    if (memory === undefined) {
      const buffer = Buffer.allocUnsafeSlow(capacity);
      return new Uint8Array(buffer.buffer, 0, length);
    }
    this.#spareBytes -= capacity;
    return new Uint8Array(memory, 0, length);
  }

  /** Takes back a buffer of {@link take}, to which no reference may be left. */
  give({ buffer }: Uint8Array<ArrayBuffer>): void {
    const capacity = buffer.byteLength;
    if (capacity < MIN_POOLED) return;
    if (this.#spareBytes + capacity > MAX_SPARE) return free(buffer);
    this.#spareBytes += capacity;
    const spare = this.#spare.get(capacity);
    if (spare === undefined) this.#spare.set(capacity, [buffer]);
    else spare.push(buffer);
  }

  /** Frees all memory that is kept. */
  clear(): void {
    for (const buffer of [...this.#spare.values()].flat()) free(buffer);
    this.#spare.clear();
    this.#spareBytes = 0;
  }
}

/** Gives the memory back now. A node that is idle collects no garbage for hours. */
export function free(buffer: ArrayBuffer): void {
  buffer.transfer(0);
}

function capacityFor(length: number): number {
  return length < MIN_POOLED ? length : Math.min(LIMITS.chunk, 2 ** Math.ceil(Math.log2(length)));
}
