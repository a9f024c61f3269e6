/**
 * Frames on streams: the length as an unsigned varint (multiformats/unsigned-varint), then so many bytes. The decoder
 * is synchronous and push-driven. One event on a stream can bring many small frames, and a promise for each
 * would cost more than the frame.
 */
import { protocolError } from './fields.ts';

/**
 * Bytes in one frame. A longer frame is refused as soon as its length is read, before any memory is allocated for it.
 */
export const MAX_FRAME_BYTES = 64 * 1024;

/** Three groups of 7 bits hold every length up to the limit. */
const MAX_PREFIX_BYTES = 3;

export function encodeFrame(bytes: Uint8Array): Uint8Array {
  if (bytes.length > MAX_FRAME_BYTES) throw new RangeError(`a frame of ${bytes.length} bytes`);
  const prefix: number[] = [];
  let rest = bytes.length;
  for (; rest >= 0x80; rest >>>= 7) prefix.push((rest & 0x7f) | 0x80);
  prefix.push(rest);
  const frame = new Uint8Array(prefix.length + bytes.length);
  frame.set(prefix);
  frame.set(bytes, prefix.length);
  return frame;
}

/** Cuts a stream of bytes into frames. It keeps at most one frame. */
export class FrameDecoder {
  readonly #maxBytes: number;
  #prefix = 0;
  #prefixBytes = 0;
  /** The frame in progress; undefined until its length is known. */
  #frame: Uint8Array | undefined;
  #filled = 0;

  constructor(maxBytes: number = MAX_FRAME_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Whether the stream may end here. */
  get isBetweenFrames(): boolean {
    return this.#frame === undefined && this.#prefixBytes === 0;
  }

  /** The frames that `chunk` completes, as copies. @throws WeirError `peer_protocol` for a frame that is too long */
  *push(chunk: Uint8Array): Generator<Uint8Array, void> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#frame === undefined) {
        this.#readPrefix(chunk[at] ?? 0);
        at += 1;
      } else {
        const taken = chunk.subarray(at, at + this.#frame.length - this.#filled);
        this.#frame.set(taken, this.#filled);
        this.#filled += taken.length;
        at += taken.length;
      }
      if (this.#frame !== undefined && this.#filled === this.#frame.length) {
        const frame = this.#frame;
        this.#frame = undefined;
        yield frame;
      }
    }
  }

  #readPrefix(byte: number): void {
    this.#prefix |= (byte & 0x7f) << (7 * this.#prefixBytes);
    this.#prefixBytes += 1;
    if ((byte & 0x80) !== 0) {
      if (this.#prefixBytes === MAX_PREFIX_BYTES) throw protocolError('the length of a frame is no varint');
      return;
    }
    const length = this.#prefix;
    if (length > this.#maxBytes) {
      throw protocolError(`a frame of ${length} bytes, at most ${this.#maxBytes} are allowed`);
    }
    this.#prefix = 0;
    this.#prefixBytes = 0;
    this.#filled = 0;
    this.#frame = new Uint8Array(length);
  }
}
