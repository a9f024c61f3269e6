/**
 * Bytes of a body that wait, in the order in which they came. The sender decides how small the buffers are, and a
 * buffer of one byte costs a hundred times its size. So small buffers are copied together; large ones are kept as
 * they are.
 */
import { KIB } from './clock.ts';

/** Bytes of a buffer below which a copy costs less than an object. */
const SMALL = 4 * KIB;
/** Bytes of the memory that small buffers are copied into. */
const PAGE = 16 * KIB;

export class ByteQueue {
  #buffers: Uint8Array[] = [];
  #bytes = 0;
  #page: Buffer = Buffer.alloc(0);
  /** Bytes of the page that are taken. If {@link #isOpen}, the last buffer lies in it from {@link #start} on. */
  #used = 0;
  #start = 0;
  #isOpen = false;

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The first buffer, which stays. */
  get first(): Uint8Array | undefined {
    return this.#buffers[0];
  }

  push(buffer: Uint8Array): void {
    if (buffer.length === 0) return;
    this.#bytes += buffer.length;
    if (buffer.length >= SMALL) {
      this.#buffers.push(buffer);
      this.#isOpen = false;
      return;
    }
    if (this.#page.length - this.#used < buffer.length) {
      this.#page = Buffer.allocUnsafeSlow(PAGE);
      this.#used = 0;
      this.#isOpen = false;
    }
    if (!this.#isOpen) this.#start = this.#used;
    this.#page.set(buffer, this.#used);
    this.#used += buffer.length;
    const joined = this.#page.subarray(this.#start, this.#used);
    if (this.#isOpen) this.#buffers[this.#buffers.length - 1] = joined;
    else this.#buffers.push(joined);
    this.#isOpen = true;
  }

  /** Puts in a copy of bytes whose memory is used again. */
  copy(bytes: Uint8Array): void {
    this.push(bytes.length < SMALL ? bytes : Buffer.from(bytes));
  }

  /** Takes the first buffer; undefined if no bytes wait. */
  shift(): Uint8Array | undefined {
    const buffer = this.#buffers.shift();
    this.#bytes -= buffer?.length ?? 0;
    if (this.#buffers.length === 0) this.#isOpen = false;
    return buffer;
  }

  /** Takes all buffers. */
  takeAll(): readonly Uint8Array[] {
    const buffers = this.#buffers;
    this.#buffers = [];
    this.#bytes = 0;
    this.#isOpen = false;
    return buffers;
  }

  /** Moves bytes from the front into `target`. @returns their number */
  read(target: Uint8Array): number {
    let done = 0;
    while (done < target.length) {
      const first = this.#buffers[0];
      if (first === undefined) break;
      const part = first.subarray(0, target.length - done);
      target.set(part, done);
      done += this.drop(part.length);
    }
    return done;
  }

  /** Drops at most so many bytes, and none beyond the first buffer. @returns their number */
  drop(bytes: number): number {
    const first = this.shift();
    if (first === undefined) return 0;
    if (bytes >= first.length) return first.length;
    this.#buffers.unshift(first.subarray(bytes));
    this.#bytes += first.length - bytes;
    return bytes;
  }
}
