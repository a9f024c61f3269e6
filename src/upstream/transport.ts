/** How requests leave the node: for documents from this thread, for blobs from a byte worker (blob-transport.ts). */
import type { Reach } from './address-guard.ts';
import type { TlsProfile } from './endpoint.ts';
import { isOfHead } from './failure.ts';
import type { Lane, Pools } from './pools.ts';
import type { Response, ResponseHead } from './response.ts';
import { send, type SendOptions } from './send.ts';

export interface OutgoingRequest extends SendOptions {
  readonly tls: TlsProfile;
  readonly reach: Reach;
  /** Whether another thread has found that the origin is to be read leniently. */
  readonly isLenient?: boolean;
  /** Of the settings with which the call began: a byte worker has the connections of several. */
  readonly generation?: number;
}

export interface Transport<Head extends ResponseHead> {
  /**
   * Resolves with the head of the response. The caller must read the body or discard it.
   * @throws WeirError `address_refused`, `upstream_unreachable`, `upstream_timeout`, `upstream_cut`, `upstream_protocol`,
   *   `aborted`
   */
  send(request: OutgoingRequest): Promise<Head>;
}

/** Sends from this thread; again, and leniently, if it does not get a head that can be read in one way. */
export class PoolTransport implements Transport<Response> {
  readonly #pools: Pick<Pools, 'get' | 'isLenient' | 'makeLenient'>;
  readonly #lane: Lane;

  constructor(pools: Pick<Pools, 'get' | 'isLenient' | 'makeLenient'>, lane: Lane) {
    this.#pools = pools;
    this.#lane = lane;
  }

  /** Whether this thread reads the answers of `origin` leniently. */
  isLenient(origin: string): boolean {
    return this.#pools.isLenient(origin);
  }

  async send({ tls, reach, isLenient, ...options }: OutgoingRequest): Promise<Response> {
    const { origin } = options;
    const once = (): Promise<Response> => {
      const pool = this.#pools.get(origin, tls, this.#lane, reach);
      return send(pool, { ...options, isLast: this.#pools.isLenient(origin) });
    };
    if (isLenient === true) this.#pools.makeLenient(origin);
    const wasLenient = this.#pools.isLenient(origin);
    try {
      return await once();
    } catch (error) {
      if (wasLenient || !isOfHead(error)) throw error;
      this.#pools.makeLenient(origin);
      return once();
    }
  }
}
