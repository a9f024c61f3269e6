/** One request to the mirror and its response: its caller, its source, its bytes, and the ways to end it. */
import { randomBytes } from 'node:crypto';
import { WeirError } from '../util/errors.ts';
import { Waits } from '../util/waits.ts';
import type { Exchange, ExchangeRequest, ExchangeResponse } from '../http/exchange.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobOrigin } from '../pull/blob-origin.ts';
import type { BlobReader, ByteSource } from '../pull/blob-reader.ts';
import type { RegistryHost } from '../oci/repository.ts';
import { callerOf, type Caller } from '../upstream/caller.ts';
import { parseAuthorization } from '../upstream/credential.ts';

/** What a request was answered with, for the account of its pull. */
export type Served =
  | { readonly kind: 'blob'; readonly size: number; readonly origin: BlobOrigin }
  /** `bytes`: undefined for HEAD. */
  | { readonly kind: 'manifest'; readonly digest: Digest; readonly bytes: Uint8Array | undefined };

export class MirrorRequest {
  readonly request: ExchangeRequest;
  readonly response: ExchangeResponse;
  /** Appears in the log and in the Weir-Request-Id header. */
  readonly id: string = randomBytes(6).toString('base64url');
  readonly began: number;
  readonly waits: Waits;
  /** When the first byte of a blob could be sent. In monotonic milliseconds, as `began`. */
  readyAt: number | undefined;
  served: Served | undefined;
  #source: ByteSource | undefined;
  readonly #now: () => number;

  /** @param now monotonic milliseconds */
  constructor({ request, response }: Exchange, now: () => number) {
    this.#now = now;
    this.began = now();
    this.waits = new Waits(now);
    this.request = request;
    this.response = response;
    response.setHeader('Docker-Distribution-Api-Version', 'registry/2.0');
    response.setHeader('Weir-Request-Id', this.id);
  }

  /** Is aborted when the connection is gone or {@link cut}. */
  get gone(): AbortSignal {
    return this.response.gone;
  }

  get isHead(): boolean {
    return this.request.method === 'HEAD';
  }

  /** The caller, towards this registry. @throws WeirError `bad_request` for a malformed Authorization header */
  callerOf(registry: RegistryHost): Caller {
    return callerOf(registry, parseAuthorization(this.request.headers.authorization));
  }

  /** Where the body came from; undefined if there is none. */
  get source(): ByteSource | undefined {
    return this.#source;
  }

  /** Bytes of the body that were handed to the connection. */
  get bytes(): number {
    return this.response.bytesSent;
  }

  /** The first byte of a blob can be sent. What is returned is disposed of when no more will be. */
  sending(reader: Pick<BlobReader, 'size' | 'origin'>): Disposable {
    const began = this.#now();
    this.readyAt = began;
    const ended = (): void => {
      const { size, origin } = reader;
      this.served = { kind: 'blob', size, origin };
      const over = this.#now();
      const whole = Math.min(over, Math.max(began, origin.wholeAt ?? over));
      this.waits.add('arriving', whole - began);
      this.waits.add('sending', over - whole);
    };
    return { [Symbol.dispose]: ended };
  }

  from(source: ByteSource): void {
    this.#source = source;
    this.response.setHeader('Weir-Source', source);
  }

  /** Ends the work on this request at the end of the drain. */
  cut(): void {
    this.response.interrupt(new WeirError('draining', 'this node is shutting down'));
  }
}
