/** Random choices that a seed repeats. Pure. */
import { SeededRandom } from '../../simulator/random.ts';

export class Chance {
  readonly #random: SeededRandom;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  /** An integer from 0 up to but excluding `bound`; 0 if there is none. */
  below(bound: number): number {
    return Math.floor(this.#random.next() * bound);
  }

  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  /** @param items at least one */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Uint8Array.from({ length }, () => this.below(256)));
  }

  /** `bytes` in parts, as a network may deliver them. */
  *parts(bytes: Buffer): Generator<Buffer, void> {
    for (let at = 0; at < bytes.length;) {
      const length = 1 + (this.oneIn(3) ? this.below(4) : this.below(bytes.length));
      yield bytes.subarray(at, at + length);
      at += length;
    }
  }
}

/** A separate seed for each name, so that a new target does not change the others. */
export function seedOf(seed: number, name: string): number {
  let mixed = seed >>> 0;
  for (let i = 0; i < name.length; i++) mixed = Math.imul(mixed ^ name.charCodeAt(i), 0x01_00_01_93) >>> 0;
  return mixed;
}
