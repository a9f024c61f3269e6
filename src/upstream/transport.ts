/** How requests leave the node: for documents from this thread, for blobs from a byte worker (blob-transport.ts). */
import type { Reach } from './address-guard.ts';
import type { TlsProfile } from './endpoint.ts';
import type { Lane, Pools } from './pools.ts';
import { send, type Response, type ResponseHead, type SendOptions } from './response.ts';

export interface OutgoingRequest extends SendOptions {
  readonly tls: TlsProfile;
  readonly reach: Reach;
}

export interface Transport<Head extends ResponseHead> {
  /**
   * Resolves with the head of the response. The caller must read the body or discard it.
   * @throws WeirError `address_refused`, `upstream_unreachable`, `upstream_timeout`, `upstream_cut`, `upstream_protocol`,
   *   `aborted`
   */
  send(request: OutgoingRequest): Promise<Head>;
}

/** Sends from this thread. */
export class PoolTransport implements Transport<Response> {
  readonly #pools: Pick<Pools, 'get'>;
  readonly #lane: Lane;

  constructor(pools: Pick<Pools, 'get'>, lane: Lane) {
    this.#pools = pools;
    this.#lane = lane;
  }

  async send({ tls, reach, ...options }: OutgoingRequest): Promise<Response> {
    return send(this.#pools.get(options.origin, tls, this.#lane, reach), options);
  }
}
