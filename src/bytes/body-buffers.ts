/**
 * Buffers of the bodies that one byte worker sends. A body takes two, and takes turns between them. When many bodies are
 * being sent, each takes one small buffer: hundreds of clients that read slowly must not fill the memory.
 */
import { KIB, SECOND } from '../util/clock.ts';
import { free } from './chunk-buffers.ts';

/** Bytes: so large that system calls cost little. */
export const LARGE: number = 256 * KIB;
const SMALL = 32 * KIB;
/** Bytes before each buffer, for the head of a frame that is sent together with it. */
export const HEADROOM = 8;
/** Large buffers at a time: 16 MiB. They are kept, as new ones would have to be cleared and collected. */
const MAX_LARGE = 64;
/** Milliseconds for which memory is kept that no body uses: longer than the pauses between the blobs of an image. */
const KEEP = 2 * SECOND;

export class BodyBuffers {
  readonly #spare: Buffer[] = [];
  #large = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Two large buffers, or a small one. */
  take(): readonly [Buffer, ...Buffer[]] {
    if (this.#large + 2 > MAX_LARGE) return [withHeadroom(SMALL)];
    this.#large += 2;
    return [this.#takeLarge(), this.#takeLarge()];
  }

  #takeLarge(): Buffer {
    return this.#spare.pop() ?? withHeadroom(LARGE);
  }

  give(buffers: readonly Buffer[]): void {
    for (const buffer of buffers) {
      if (buffer.length < LARGE) continue;
      this.#large--;
      this.#spare.push(buffer);
    }
    if (this.#large === 0) this.#clearLater();
  }

  #clearLater(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#large > 0) return;
      for (const { buffer } of this.#spare.splice(0)) free(buffer as ArrayBuffer);
    }, KEEP).unref();
  }
}

function withHeadroom(length: number): Buffer {
  return Buffer.allocUnsafeSlow(HEADROOM + length).subarray(HEADROOM);
}
