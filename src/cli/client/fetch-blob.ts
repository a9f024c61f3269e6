/**
 * Fetches one blob and verifies it while it streams. After a cut it is requested again from the byte where it stopped, as
 * containerd does: as often as bytes advance, and only a few times if none do.
 */
import { isWeirError, toWeirError, WeirError } from '../../util/errors.ts';
import { DigestVerifier, type Digest } from '../../oci/digest.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import { isRetryable, retryAfterOf, retryDelay } from '../../upstream/retry.ts';
import { wrongDigest, type RegistrySession } from './registry-session.ts';

/** Attempts in a row that bring no byte before a blob fails; containerd's number. */
export const MAX_IDLE_ATTEMPTS = 4;

export interface FetchBlobOptions {
  /** Takes bytes that arrived and are hashed; only the end of the blob shows whether it is right. */
  readonly onBytes?: ((chunk: Uint8Array, offset: number) => void | Promise<void>) | undefined;
  readonly onRetry?: ((offset: number, error: WeirError) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface FetchedBlob {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly seconds: number;
  /** From the request to the first byte (to the end for an empty blob). */
  readonly firstByteSeconds: number;
  /** The source: `store`, `upstream`, … as a Weir mirror says, else `mirror` or `registry`. */
  readonly source: string;
  /** Number of repeated requests. */
  readonly retries: number;
}

/**
 * @throws WeirError `digest_mismatch`; `handed_over` if a mirror sends the client to the registry in mid-blob; the error
 *   of a request that fails
 */
export async function fetchBlob(
  session: RegistrySession,
  blob: Descriptor,
  options: FetchBlobOptions = {},
): Promise<FetchedBlob> {
  const download = new Download(session, blob, options);
  await download.run();
  return download.result();
}

class Download {
  readonly #session: RegistrySession;
  readonly #blob: Descriptor;
  readonly #options: FetchBlobOptions;
  readonly #verifier: DigestVerifier;
  readonly #started: number;
  #firstByte: number | undefined;
  #offset = 0;
  #source = '';
  #retries = 0;

  constructor(session: RegistrySession, blob: Descriptor, options: FetchBlobOptions) {
    this.#session = session;
    this.#blob = blob;
    this.#options = options;
    this.#verifier = new DigestVerifier(blob.digest);
    this.#started = session.clock.monotonic();
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    for (let idle = 0; ;) {
      const before = this.#offset;
      try {
        await this.#attempt();
        break;
      } catch (error) {
        const failure = this.#explain(toWeirError(error));
        idle = this.#offset > before ? 0 : idle + 1;
        if (signal?.aborted || !isRetryable(failure) || idle >= MAX_IDLE_ATTEMPTS) throw failure;
        this.#retries += 1;
        this.#options.onRetry?.(this.#offset, failure);
        const { clock } = this.#session;
        await clock.sleep(retryDelay(idle, clock.random(), retryAfterOf(failure)), { signal });
      }
    }
    if (!this.#verifier.matches()) throw wrongDigest(this.#session.origin, this.#blob.digest);
  }

  result(): FetchedBlob {
    const now = this.#session.clock.monotonic();
    return {
      digest: this.#blob.digest,
      size: this.#blob.size,
      seconds: (now - this.#started) / 1000,
      firstByteSeconds: ((this.#firstByte ?? now) - this.#started) / 1000,
      source: this.#source,
      retries: this.#retries,
    };
  }

  async #attempt(): Promise<void> {
    const { digest, size } = this.#blob;
    const { response, start, source } = await this.#session.blob(
      this.#blob,
      this.#offset,
      this.#options.signal,
    );
    this.#source = source;
    let skip = this.#offset - start; // a whole answer to a ranged request
    for await (const chunk of response.chunks()) {
      this.#firstByte ??= this.#session.clock.monotonic();
      const fresh = skip === 0 ? chunk : chunk.subarray(skip);
      skip = Math.max(0, skip - chunk.length);
      if (fresh.length === 0) continue;
      if (this.#offset + fresh.length > size) throw wrongDigest(this.#session.origin, digest);
      this.#verifier.update(fresh);
      await this.#options.onBytes?.(fresh, this.#offset);
      this.#offset += fresh.length;
    }
    if (this.#offset < size) {
      const problem = `${this.#session.origin} ended ${digest} at byte ${this.#offset} of ${size}`;
      throw new WeirError('upstream_cut', problem);
    }
  }

  /** A mirror that answers 404 in mid-blob sends the client to the registry for the rest. */
  #explain(error: WeirError): WeirError {
    const refused = isWeirError(error, 'blob_unknown') || error.detail['status'] === 416;
    if (!this.#session.isMirrorAlone || this.#offset === 0 || !refused) return error;
    const problem = `${this.#session.origin} leaves the rest of ${this.#blob.digest} to the registry, from byte ${this.#offset} on`;
    return new WeirError('handed_over', problem, { cause: error });
  }
}
