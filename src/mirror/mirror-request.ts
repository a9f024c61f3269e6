/** One request to the mirror and its response: its caller, its source, its bytes, and the ways to end it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { randomBytes } from 'node:crypto';
import { WeirError } from '../util/errors.ts';
import type { ByteSource } from '../pull/blob-reader.ts';
import type { RegistryHost } from '../oci/repository.ts';
import { callerOf, type Caller } from '../upstream/caller.ts';
import { parseAuthorization } from '../upstream/credential.ts';

export class MirrorRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Appears in the log and in the Weir-Request-Id header. */
  readonly id: string = randomBytes(6).toString('base64url');
  readonly #gone: AbortController = new AbortController();
  #source: ByteSource | undefined;
  #bytes = 0;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.request = request;
    this.response = response;
    response.setHeader('Docker-Distribution-Api-Version', 'registry/2.0');
    response.setHeader('Weir-Request-Id', this.id);
    response.once('close', () => {
      this.#gone.abort(new WeirError('aborted', 'the client closed the connection'));
    });
  }

  /** Is aborted when the connection is gone or {@link cut}. */
  get gone(): AbortSignal {
    return this.#gone.signal;
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
    return this.#bytes;
  }

  from(source: ByteSource): void {
    this.#source = source;
    this.response.setHeader('Weir-Source', source);
  }

  sent(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Ends the work on this request at the end of the drain. */
  cut(): void {
    this.#gone.abort(new WeirError('draining', 'this node is shutting down'));
  }

  /**
   * Closes the connection cleanly, behind the bytes that have been written and short of Content-Length: containerd then
   * asks again with a Range. A reset would fail the pull.
   */
  closeShort(): void {
    this.response.socket?.destroySoon();
  }
}
