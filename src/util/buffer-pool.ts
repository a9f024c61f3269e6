/** Buffers for bodies of responses. */
import { KIB } from './clock.ts';

/** Bytes of a buffer: so large that system calls cost little, so small that hundreds of slow readers cost little. */
const BUFFER_BYTES = 256 * KIB;
/** Buffers that are kept for the next response. */
const MAX_SPARE = 32;

export class BufferPool {
  readonly #spare: Buffer[] = [];

  take(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
  }

  give(buffer: Buffer): void {
    if (this.#spare.length < MAX_SPARE) this.#spare.push(buffer);
  }
}
