/** Serves blobs without storing them, a bounded number at a time. */
import type { Digest } from '../oci/digest.ts';
import { WeirError } from '../util/errors.ts';
import type { Ingest } from '../store/store.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { Access, PullRequest } from './access.ts';
import { Semaphore } from '../util/semaphore.ts';
import type { BlobReader } from './blob-reader.ts';
import { PassThroughReader } from './pass-through-reader.ts';

/** Blobs at a time: each keeps up to one chunk (8 MiB at most) in memory, and one connection. */
const MAX_PASS_THROUGH = 16;

export interface PassThroughRequest extends PullRequest {
  readonly digest: Digest;
  /** The runtime cannot go upstream for this blob by itself. */
  readonly dependent: boolean;
}

export interface PassThroughOptions {
  readonly upstream: Pick<Upstream, 'openBlob' | 'pass'>;
  readonly access: Access;
  /** Milliseconds. */
  readonly stallTimeout: number;
}

export class PassThrough {
  readonly #options: PassThroughOptions;
  readonly #places: Semaphore = new Semaphore(MAX_PASS_THROUGH);

  constructor(options: PassThroughOptions) {
    this.#options = options;
  }

  /**
   * @param prefix the part of the blob that is here already
   * @throws WeirError `store_full` if all places are taken and this runtime can go upstream by itself; upstream's
   *   answer
   */
  async open(request: PassThroughRequest, prefix?: Ingest): Promise<BlobReader> {
    const { upstream, access, stallTimeout } = this.#options;
    const { digest, dependent, signal } = request;
    const onClose = this.#places.tryTake() ?? (dependent ? await this.#places.take(signal) : undefined);
    if (onClose === undefined) {
      const message = `${MAX_PASS_THROUGH} blobs are being passed through without storing already`;
      throw new WeirError('store_full', message);
    }
    const onVerified = (): void => access.delivered(request, digest);
    try {
      const listedSize = access.listedSize(request.repository, digest);
      const options = { upstream, request, digest, prefix, listedSize, stallTimeout, onVerified, onClose };
      return await PassThroughReader.open(options);
    } catch (error) {
      onClose();
      access.failed(request, error);
      throw error;
    }
  }
}
