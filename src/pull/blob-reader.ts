/** A blob as the mirror sends it, whatever its source. The bytes go from the file to the client in a byte worker. */
import { isWeirError, WeirError } from '../util/errors.ts';
import type { ExchangeResponse } from '../http/exchange.ts';
import type { Digest } from '../oci/digest.ts';
import type { Blob } from '../store/store.ts';
import { localOrigin, type BlobOrigin } from './blob-origin.ts';

/** `swarm`: from peers and upstream together; `peer`: a manifest from a member. */
export type ByteSource = 'store' | 'runtime' | 'upstream' | 'swarm' | 'peer';

/** What a reader needs of a response. */
export type BodyTarget = Pick<ExchangeResponse, 'send' | 'gone' | 'bytesSent'>;

export interface BlobReader extends AsyncDisposable {
  readonly digest: Digest;
  /** Bytes of the whole blob. */
  readonly size: number;
  readonly source: ByteSource;
  /** As far as it is known now. */
  readonly origin: BlobOrigin;
  /**
   * Settles when the byte at `start` can be sent. At the end of the blob, that is when the whole digest was found right.
   * @throws WeirError `upstream_*`, `digest_mismatch`, `store_corrupt`: nothing will come; the signal's reason
   */
  ready(start: number, signal?: AbortSignal): Promise<void>;
  /**
   * Sends the bytes from `start` to `end`, and waits for those that have not arrived. Each call goes on where the one
   * before it ended.
   * @throws WeirError `upstream_*`, `digest_mismatch`, `store_corrupt`: nothing more will come; what `send` throws
   */
  sendTo(target: BodyTarget, start: number, end: number): Promise<void>;
}

/** Reads a blob of a provider. */
export class LocalReader implements BlobReader {
  readonly #blob: Blob;
  readonly origin: BlobOrigin;

  /** @param origin if the blob came a moment ago, for this reader */
  constructor(blob: Blob, origin: BlobOrigin = localOrigin(blob.size)) {
    this.#blob = blob;
    this.origin = origin;
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

  /** At once: if the first bytes are damaged, nothing is sent. */
  ready(): Promise<void> {
    return Promise.resolve();
  }

  async sendTo(target: BodyTarget, start: number, end: number): Promise<void> {
    const blob = this.#blob;
    try {
      const position = await target.send(blob.content, start, end);
      if (position === end) return;
    } catch (error) {
      if (isWeirError(error, 'store_corrupt')) await blob.corrupt();
      throw error;
    }
    throw new WeirError('internal', `${this.digest} was not sent to byte ${end}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#blob[Symbol.asyncDispose]();
  }
}
