/**
 * Which peer has which chunk: a row of bits for each chunk, and in it a bit for each seat. The most frequent question
 * is which peers have one chunk. The rows of a blob lie side by side in memory, so that no peer need be looked at.
 */

const WORD = 32;

export class Availability {
  readonly #chunks: number;
  /** Words of a row. */
  #width = 1;
  #bits: Uint32Array;

  constructor(chunks: number) {
    this.#chunks = chunks;
    this.#bits = new Uint32Array(chunks);
  }

  has(index: number, seat: number): boolean {
    return seat < WORD * this.#width && (this.#word(index, seat >> 5) & bitOf(seat)) !== 0;
  }

  set(index: number, seat: number): void {
    while (seat >= WORD * this.#width) this.#widen();
    const at = index * this.#width + (seat >> 5);
    this.#bits[at] = (this.#bits[at] ?? 0) | bitOf(seat);
  }

  clear(index: number, seat: number): void {
    if (!this.has(index, seat)) return;
    const at = index * this.#width + (seat >> 5);
    this.#bits[at] = (this.#bits[at] ?? 0) & ~bitOf(seat);
  }

  /** How many peers have the chunk. */
  count(index: number): number {
    let count = 0;
    for (let word = 0; word < this.#width; word++) count += ones(this.#word(index, word));
    return count;
  }

  /** Whether a peer has the chunk; `among`: one of those seats. */
  isHeld(index: number, among?: Seats): boolean {
    for (let word = 0; word < this.#width; word++) {
      if ((this.#word(index, word) & (among?.word(word) ?? ~0)) !== 0) return true;
    }
    return false;
  }

  #word(index: number, word: number): number {
    return this.#bits[index * this.#width + word] ?? 0;
  }

  #widen(): void {
    const before = this.#bits;
    const width = this.#width;
    this.#width = 2 * width;
    this.#bits = new Uint32Array(this.#chunks * this.#width);
    for (let index = 0; index < this.#chunks; index++) {
      this.#bits.set(before.subarray(index * width, (index + 1) * width), index * this.#width);
    }
  }
}

/** A set of seats. */
export class Seats {
  readonly #words: number[] = [];

  get isEmpty(): boolean {
    return this.#words.length === 0;
  }

  add(seat: number): void {
    while (this.#words.length <= seat >> 5) this.#words.push(0);
    this.#words[seat >> 5] = this.word(seat >> 5) | bitOf(seat);
  }

  word(at: number): number {
    return this.#words[at] ?? 0;
  }
}

function bitOf(seat: number): number {
  return 1 << (seat & (WORD - 1));
}

/** Bits of a word that are set (Warren, Hacker's Delight, 5-1). */
function ones(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
