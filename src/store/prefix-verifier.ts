/** Computes the digest of a blob that arrives in any order, over the prefix without a gap. */
import type { FileHandle } from 'node:fs/promises';
import { MIB } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { DigestVerifier, type Digest } from '../oci/digest.ts';
import { readFully } from './file.ts';

/** Bytes of the file that are read at a time to catch up. */
const CATCH_UP_BYTES = 1 * MIB;

export class PrefixVerifier {
  readonly #digest: Digest;
  readonly #verifier: DigestVerifier;
  #position = 0;

  constructor(digest: Digest) {
    this.#digest = digest;
    this.#verifier = new DigestVerifier(digest);
  }

  /** Number of bytes from the start of the blob that were hashed. */
  get position(): number {
    return this.#position;
  }

  /** Hashes the next bytes. */
  update(bytes: Uint8Array): void {
    this.#verifier.update(bytes);
    this.#position += bytes.length;
  }

  /** Reads and hashes the file from the position to `end`. @throws WeirError `store_corrupt` if the file is shorter */
  async catchUp(file: FileHandle, end: number): Promise<void> {
    const buffer = Buffer.allocUnsafe(Math.min(CATCH_UP_BYTES, Math.max(0, end - this.#position)));
    while (this.#position < end) {
      const part = buffer.subarray(0, Math.min(buffer.length, end - this.#position));
      if (!(await readFully(file, part, this.#position))) {
        const message = `the partial blob of ${this.#digest} was cut short from outside`;
        throw new WeirError('store_corrupt', message);
      }
      this.update(part);
    }
  }

  /** Whether the hashed bytes have the digest; to be called once, at the end. */
  matches(): boolean {
    return this.#verifier.matches();
  }
}
