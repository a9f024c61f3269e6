/** One request to the mirror and its response: its caller, its source, its bytes, and the ways to end it. */
import { randomBytes } from 'node:crypto';
import { WeirError } from '../util/errors.ts';
import type { Exchange, ExchangeRequest, ExchangeResponse } from '../http/exchange.ts';
import type { ByteSource } from '../pull/blob-reader.ts';
import type { RegistryHost } from '../oci/repository.ts';
import { callerOf, type Caller } from '../upstream/caller.ts';
import { parseAuthorization } from '../upstream/credential.ts';

export class MirrorRequest {
  readonly request: ExchangeRequest;
  readonly response: ExchangeResponse;
  /** Appears in the log and in the Weir-Request-Id header. */
  readonly id: string = randomBytes(6).toString('base64url');
  #source: ByteSource | undefined;

  constructor({ request, response }: Exchange) {
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

  from(source: ByteSource): void {
    this.#source = source;
    this.response.setHeader('Weir-Source', source);
  }

  /** Ends the work on this request at the end of the drain. */
  cut(): void {
    this.response.interrupt(new WeirError('draining', 'this node is shutting down'));
  }
}
