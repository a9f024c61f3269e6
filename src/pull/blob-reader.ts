/** A blob as the mirror reads it, whatever its source. */
import type { Digest } from '../oci/digest.ts';
import type { Blob } from '../store/store.ts';

/** `swarm`: from peers and upstream together; `peer`: a manifest from a member. */
export type ByteSource = 'store' | 'runtime' | 'upstream' | 'swarm' | 'peer';

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface BlobReader extends AsyncDisposable {
  readonly digest: Digest;
  /** Bytes of the whole blob. */
  readonly size: number;
  readonly source: ByteSource;
  /**
   * Reads into `target` from `position` on, and waits for bytes that have not arrived. Resolves with the number of
   * bytes read; 0 is the end of the blob, and comes only after the whole digest was found right.
   * @throws WeirError `upstream_*`, `digest_mismatch`, `store_corrupt`: nothing more will come
   */
  read(target: Uint8Array, position: number, options?: ReadOptions): Promise<number>;
}

/** Reads a blob of a provider. */
export class LocalReader implements BlobReader {
  readonly #blob: Blob;

  constructor(blob: Blob) {
    this.#blob = blob;
  }

  get digest(): Digest {
    return this.#blob.digest;
  }

  get size(): number {
    return this.#blob.size;
  }

  get source(): ByteSource {
    return this.#blob.source;
  }

  read(target: Uint8Array, position: number): Promise<number> {
    return this.#blob.read(target, position);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#blob[Symbol.asyncDispose]();
  }
}
