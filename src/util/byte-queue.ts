/**
 * Bytes of a body that wait, in the order in which they came. Whoever sends decides how small the pieces are, and one of a
 * single byte costs a hundred times its size: so small ones are copied together, and large ones are kept as they are.
 */
import { KIB } from './clock.ts';

/** Bytes of a piece below which a copy costs less than an object. */
const SMALL = 4 * KIB;
/** Bytes of the memory that small pieces are copied into. */
const PAGE = 16 * KIB;

export class ByteQueue {
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  #page: Buffer = Buffer.alloc(0);
  /** Bytes of the page that are taken; from {@link #start} on they are the last piece, where that is {@link #isOpen}. */
  #used = 0;
  #start = 0;
  #isOpen = false;

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  push(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.#bytes += piece.length;
    if (piece.length >= SMALL) {
      this.#pieces.push(piece);
      this.#isOpen = false;
      return;
    }
    if (this.#page.length - this.#used < piece.length) {
      this.#page = Buffer.allocUnsafeSlow(PAGE);
      this.#used = 0;
      this.#isOpen = false;
    }
    if (!this.#isOpen) this.#start = this.#used;
    this.#page.set(piece, this.#used);
    this.#used += piece.length;
    const joined = this.#page.subarray(this.#start, this.#used);
    if (this.#isOpen) this.#pieces[this.#pieces.length - 1] = joined;
    else this.#pieces.push(joined);
    this.#isOpen = true;
  }

  /** The first bytes, as many as lie together; undefined where none wait. */
  shift(): Uint8Array | undefined {
    const piece = this.#pieces.shift();
    this.#bytes -= piece?.length ?? 0;
    if (this.#pieces.length === 0) this.#isOpen = false;
    return piece;
  }

  /** All that waits; nothing does then. */
  takeAll(): readonly Uint8Array[] {
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#bytes = 0;
    this.#isOpen = false;
    return pieces;
  }

  /** Moves bytes from the front into `target`. @returns how many */
  read(target: Uint8Array): number {
    let done = 0;
    while (done < target.length) {
      const first = this.#pieces[0];
      if (first === undefined) break;
      const part = first.subarray(0, target.length - done);
      target.set(part, done);
      done += this.drop(part.length);
    }
    return done;
  }

  /** Takes away at most so many bytes from the front: those that lie together. @returns how many */
  drop(bytes: number): number {
    const first = this.shift();
    if (first === undefined) return 0;
    if (bytes >= first.length) return first.length;
    this.#pieces.unshift(first.subarray(bytes));
    this.#bytes += first.length - bytes;
    return bytes;
  }
}
