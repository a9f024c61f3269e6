/** How a blob is cut into chunks: by its size alone, so that all nodes cut it in the same way (docs/protocol.md). */
import { GIB, KIB, MIB } from '../util/clock.ts';

/** In smaller chunks, the overhead of each chunk (a request, a hash, a HAVE) outweighs the gain of a finer cut. */
const MIN_CHUNK = 128 * KIB;
/** About 8 ms on a link of 1 Gbit/s (docs/adr/0017-chunk-size.md). */
const USUAL_MAX_CHUNK = 1 * MIB;
/** Small blobs are cut into about this many chunks, so that several peers can share them. */
const AIMED_CHUNKS = 64;
/** From this size on, larger chunks keep the bitfield and the hashes of a blob small. */
const LARGE_BLOB = 4 * GIB;
const LARGE_CHUNK = 4 * MIB;
const HUGE_BLOB = 32 * GIB;
const HUGE_CHUNK = 8 * MIB;

/** Bytes of each chunk except the last, for a blob of `size` bytes. */
export function chunkSizeFor(size: number): number {
  if (size > HUGE_BLOB) return HUGE_CHUNK;
  if (size > LARGE_BLOB) return LARGE_CHUNK;
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(1, size / AIMED_CHUNKS)));
  return Math.min(USUAL_MAX_CHUNK, Math.max(MIN_CHUNK, wanted));
}

export class ChunkLayout {
  /** Bytes of the blob. */
  readonly size: number;
  readonly chunkSize: number;
  readonly count: number;

  constructor(size: number) {
    this.size = size;
    this.chunkSize = chunkSizeFor(size);
    this.count = Math.ceil(size / this.chunkSize);
  }

  /** The chunk that holds the byte at `position`. */
  indexOf(position: number): number {
    return Math.floor(position / this.chunkSize);
  }

  start(index: number): number {
    return index * this.chunkSize;
  }

  /** First byte after the chunk. */
  end(index: number): number {
    return Math.min(this.size, (index + 1) * this.chunkSize);
  }

  length(index: number): number {
    return this.end(index) - this.start(index);
  }

  /** Where the last chunk starts: bytes from there on are held back until the whole digest is verified. */
  get lastStart(): number {
    return this.count === 0 ? 0 : this.start(this.count - 1);
  }
}
