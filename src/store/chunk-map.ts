/**
 * The file beside a blob with the chunks that are present, and their hashes.
 *
 * ```
 * 0   8  magic "WEIRCHK1"
 * 8   8  blob size, big endian
 * 16  n  bitfield, ceil(count / 8) bytes, first chunk in the highest bit
 * ..  32 sha256 of each chunk, zeros where absent
 * ```
 *
 * A blob of one chunk has no such file: its digest says all (isImplied).
 *
 * Data is written before its chunk is in the map. After a crash, a bit is trusted only if the data has the hash. So no
 * flush is needed between them: power loss may lose chunks, never invent one.
 */
import { digestAlgorithm, digestHex, type Digest } from '../oci/digest.ts';
import { Bitfield } from '../protocol/bitfield.ts';
import { ChunkLayout } from '../protocol/chunk-layout.ts';

const MAGIC: Buffer = Buffer.from('WEIRCHK1', 'latin1');
const HEADER_BYTES = 16;
export const CHUNK_HASH_BYTES = 32;

/** Whether the blob needs no file: it has one chunk, whose hash is its digest. */
export function isImplied(digest: Digest, layout: ChunkLayout): boolean {
  return layout.count === 1 && digestAlgorithm(digest) === 'sha256';
}

/** The map of a whole blob that needs no file; undefined for other blobs. */
export function impliedMap(digest: Digest, size: number): ChunkMap | undefined {
  const layout = new ChunkLayout(size);
  if (!isImplied(digest, layout)) return undefined;
  return ChunkMap.full(layout, new Uint8Array(Buffer.from(digestHex(digest), 'hex')));
}

export class ChunkMap {
  readonly layout: ChunkLayout;
  readonly present: Bitfield;
  readonly #hashes: Uint8Array;

  constructor(layout: ChunkLayout, present?: Bitfield, hashes?: Uint8Array) {
    this.layout = layout;
    this.present = present ?? new Bitfield(layout.count);
    this.#hashes = hashes ?? new Uint8Array(layout.count * CHUNK_HASH_BYTES);
  }

  /** The map of a whole blob. @param hashes of all chunks, one after the other */
  static full(layout: ChunkLayout, hashes: Uint8Array): ChunkMap {
    const map = new ChunkMap(layout, undefined, hashes);
    for (let index = 0; index < layout.count; index++) map.present.set(index);
    return map;
  }

  /** The map in `bytes`; undefined if they are none (cut short, another version, another size). */
  static decode(bytes: Uint8Array): ChunkMap | undefined {
    if (bytes.length < HEADER_BYTES || MAGIC.compare(bytes.subarray(0, 8)) !== 0) return undefined;
    const size = Number(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(8));
    if (!Number.isSafeInteger(size)) return undefined;
    const layout = new ChunkLayout(size);
    const bitBytes = Math.ceil(layout.count / 8);
    if (bytes.length !== HEADER_BYTES + bitBytes + layout.count * CHUNK_HASH_BYTES) return undefined;
    const bits = bytes.slice(HEADER_BYTES, HEADER_BYTES + bitBytes);
    return new ChunkMap(layout, new Bitfield(layout.count, bits), bytes.slice(HEADER_BYTES + bitBytes));
  }

  encode(): Uint8Array {
    const header = Buffer.alloc(HEADER_BYTES);
    MAGIC.copy(header);
    header.writeBigUInt64BE(BigInt(this.layout.size), 8);
    return Buffer.concat([header, this.present.bytes, this.#hashes]);
  }

  /** All hashes, one after the other. */
  get hashes(): Uint8Array {
    return this.#hashes.slice();
  }

  hash(index: number): Uint8Array {
    return this.#hashes.subarray(index * CHUNK_HASH_BYTES, (index + 1) * CHUNK_HASH_BYTES);
  }

  set(index: number, hash: Uint8Array): void {
    this.#hashes.set(hash, index * CHUNK_HASH_BYTES);
    this.present.set(index);
  }
}
