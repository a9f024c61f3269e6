/**
 * Buffers of the bodies that one byte worker sends. A body takes two, and takes turns between them. When many bodies are
 * being sent, each takes one small buffer: hundreds of clients that read slowly must not fill the memory.
 */
import { KIB } from '../util/clock.ts';

/** Bytes: so large that system calls cost little. */
export const LARGE: number = 256 * KIB;
const SMALL = 32 * KIB;
/** Large buffers at a time: 16 MiB. */
const MAX_LARGE = 64;
/** Large buffers that are kept for the next body. */
const MAX_SPARE = 8;

export class BodyBuffers {
  readonly #spare: Buffer[] = [];
  #large = 0;

  /** Two large buffers, or a small one. */
  take(): readonly [Buffer, ...Buffer[]] {
    if (this.#large + 2 > MAX_LARGE) return [Buffer.allocUnsafeSlow(SMALL)];
    this.#large += 2;
    return [this.#takeLarge(), this.#takeLarge()];
  }

  #takeLarge(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(LARGE);
  }

  give(buffers: readonly Buffer[]): void {
    for (const buffer of buffers) {
      if (buffer.length < LARGE) continue;
      this.#large--;
      if (this.#spare.length < MAX_SPARE) this.#spare.push(buffer);
    }
  }
}
