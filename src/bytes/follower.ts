/** Hashes a blob in order, behind the prefix that has arrived: from memory if its turn has come, else from the page cache. */
import { createHash, type Hash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { KIB, SECOND } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import type { DigestAlgorithm } from '../oci/digest.ts';
import { Progress } from '../util/progress.ts';
import { readWhole } from './file-calls.ts';

/** Bytes that are read and hashed in one turn: about 0.3 ms, in which sockets wait. */
const STEP = 512 * KIB;
/** Milliseconds after which a waiting follower looks again, so that a lost wake-up cannot hold it for ever. */
const LOOK_AGAIN = 1 * SECOND;

export interface Followed {
  readonly fd: number;
  /** Bytes. */
  readonly size: number;
  readonly algorithm: DigestAlgorithm;
  readonly progress: SharedArrayBuffer;
}

export class Follower {
  readonly #followed: Followed;
  readonly #progress: Progress;
  readonly #hash: Hash;
  #position = 0;
  #stopped = false;

  constructor(followed: Followed) {
    this.#followed = followed;
    this.#progress = new Progress(followed.progress);
    this.#hash = createHash(followed.algorithm);
  }

  /** Bytes at `position` that are in the file now. They must not change before this call returns. */
  offer(bytes: Uint8Array, position: number): void {
    if (position !== this.#position || this.#stopped) return;
    this.#hash.update(bytes);
    this.#position += bytes.length;
    if (this.#position === this.#followed.size) this.#progress.wake();
  }

  stop(): void {
    this.#stopped = true;
    this.#progress.wake();
  }

  /** The hash of the whole blob, hexadecimal. @throws WeirError `aborted` if it was stopped, `store_corrupt` */
  async run(): Promise<string> {
    const { fd, size } = this.#followed;
    const buffer = Buffer.allocUnsafeSlow(Math.min(STEP, Math.max(1, size)));
    for (;;) {
      const mark = this.#progress.mark;
      if (this.#stopped) throw new WeirError('aborted', 'the hash is not needed any more');
      if (this.#position >= size) return this.#hash.digest('hex');
      const end = Math.min(this.#progress.prefix, this.#position + buffer.length);
      if (end <= this.#position) {
        await this.#progress.changed(mark, LOOK_AGAIN);
        continue;
      }
      const part = buffer.subarray(0, end - this.#position);
      if (!readWhole(fd, part, this.#position)) {
        throw new WeirError('store_corrupt', 'the partial blob was cut short from outside');
      }
      this.#hash.update(part);
      this.#position = end;
      await turn();
    }
  }
}
