/** A bitfield that somebody else writes. */
export type ReadonlyBitfield = Omit<Bitfield, 'set' | 'clear'>;

/** Which chunks are present. Bits only go from 0 to 1, until the blob is given up. */
export class Bitfield {
  readonly length: number;
  readonly bytes: Uint8Array;
  #count = 0;
  #changes = 0;

  /** @param bytes used as they are, not copied; bits after `length` are cleared */
  constructor(length: number, bytes: Uint8Array = new Uint8Array(Math.ceil(length / 8))) {
    if (bytes.length !== Math.ceil(length / 8)) {
      throw new RangeError(
        `a bitfield of ${length} bits needs ${Math.ceil(length / 8)} bytes, not ${bytes.length}`,
      );
    }
    this.length = length;
    this.bytes = bytes;
    const spare = bytes.length * 8 - length;
    const last = bytes.length - 1;
    if (spare > 0) bytes[last] = (bytes[last] ?? 0) & (0xff << spare);
    for (let index = 0; index < length; index++) if (this.has(index)) this.#count++;
  }

  /** Number of set bits. */
  get count(): number {
    return this.#count;
  }

  /** How many times a bit has changed. Results computed from the bits hold until it changes. */
  get changes(): number {
    return this.#changes;
  }

  get full(): boolean {
    return this.#count === this.length;
  }

  has(index: number): boolean {
    return ((this.bytes[index >> 3] ?? 0) & (0x80 >> (index & 7))) !== 0;
  }

  set(index: number): void {
    if (index < 0 || index >= this.length) throw new RangeError(`bit ${index} of ${this.length}`);
    if (this.has(index)) return;
    this.bytes[index >> 3] = (this.bytes[index >> 3] ?? 0) | (0x80 >> (index & 7));
    this.#count++;
    this.#changes++;
  }

  clear(index: number): void {
    if (!this.has(index)) return;
    this.bytes[index >> 3] = (this.bytes[index >> 3] ?? 0) & ~(0x80 >> (index & 7));
    this.#count--;
    this.#changes++;
  }

  /** The first index at or after `from` whose bit is clear; `length` if there is none. */
  firstClear(from = 0): number {
    return this.#first(from, 0xff);
  }

  /** The first index at or after `from` whose bit is set; `length` if there is none. */
  firstSet(from = 0): number {
    return this.#first(from, 0);
  }

  /** The first bit that differs from the bits of the byte `alike`. */
  #first(from: number, alike: number): number {
    const { bytes, length } = this;
    let at = from >> 3;
    let others = ((bytes[at] ?? alike) ^ alike) & (0xff >> (from & 7));
    while (others === 0) {
      if (++at >= bytes.length) return length;
      others = (bytes[at] ?? alike) ^ alike;
    }
    return Math.min(length, 8 * at + Math.clz32(others) - CLZ_OF_BYTE);
  }
}

/** `Math.clz32` of a byte whose first bit is set. */
const CLZ_OF_BYTE = 24;
