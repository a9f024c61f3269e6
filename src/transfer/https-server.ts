/**
 * The serving side of the data plane: gives chunks of blobs to members, and to nobody else.
 *
 * data-port.ts listens and admits members. This class serves each of their requests: it parses the request
 * (chunk-requests.ts), lets the {@link ChunkSource} decide on it, and sends the answer (replies.ts) within the upload
 * limit. The protocol is described in docs/protocol.md, section "Data plane".
 */
import type { Connection, Exchange } from '../http/exchange.ts';
import { SECOND, type Clock } from '../util/clock.ts';
import { isWeirError, toWeirError, WeirError } from '../util/errors.ts';
import type { Address } from '../protocol/member.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { Refusal } from './admission.ts';
import { DataPort, type DataPortOptions } from './data-port.ts';
import type { ChunkSource, ServedChunk } from './chunk-exchange.ts';
import { READER_TIMEOUT, sendChunk, sendRefusal, sendStatus } from './replies.ts';
import { parseRequest } from './chunk-requests.ts';
import { TokenBucket } from '../util/token-bucket.ts';

/** Report of one request that was answered, or cut. */
export interface ServedReport {
  readonly peer: PeerId;
  /** `invalid`: it was no request of this protocol. */
  readonly kind: ServedChunk['kind'] | 'invalid';
  /** Bytes of the body that were handed to the connection. */
  readonly bytes: number;
  readonly seconds: number;
  /** The reason why the answer was not sent to its end. */
  readonly error: WeirError | undefined;
}

export interface DataServerObserver {
  /** A connection was cut off. @param address its remote address */
  refused(reason: Refusal, address: string): void;
  served(report: ServedReport): void;
}

export interface DataServerOptions extends Pick<DataPortOptions, 'http' | 'listen' | 'tls' | 'membership'> {
  readonly server: ChunkSource;
  /** Bytes per second, over all answers. */
  readonly maxUpload: number | undefined;
  readonly clock: Clock;
  readonly observer: DataServerObserver;
  readonly onWarning?: ((message: string) => void) | undefined;
  /** Milliseconds in which a reader must take a buffer of 256 KiB. */
  readonly readerTimeout?: number | undefined;
}

interface Outcome {
  kind: ServedReport['kind'];
  bytes: number;
}

export class DataServer implements AsyncDisposable {
  readonly #options: DataServerOptions;
  readonly #port: DataPort;

  private constructor(options: DataServerOptions, port: DataPort) {
    this.#options = options;
    this.#port = port;
  }

  /** @throws WeirError `address_in_use` */
  static async start(options: DataServerOptions): Promise<DataServer> {
    const { observer, onWarning, maxUpload, readerTimeout = READER_TIMEOUT } = options;
    const ready = Promise.withResolvers<DataServer>();
    const port = await DataPort.open({
      http: options.http,
      listen: options.listen,
      maxRate: maxUpload === undefined ? undefined : { rate: maxUpload, memory: TokenBucket.memory() },
      readerTimeout,
      tls: options.tls,
      membership: options.membership,
      // A member may ask before this node listens on the last of the addresses.
      onRequest: async (peer, exchange, connection) =>
        (await ready.promise).#serve(peer, exchange, connection),
      onRefused: (reason, address) => observer.refused(reason, address),
      onWarning: (message) => onWarning?.(message),
    });
    const server = new DataServer(options, port);
    ready.resolve(server);
    return server;
  }

  /** The addresses that it listens on, with the ports that the system gave. */
  get addresses(): readonly Address[] {
    return this.#port.addresses;
  }

  /** Connections of members. */
  get connections(): number {
    return this.#port.connections;
  }

  /** Cuts all requests that are being served. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#port[Symbol.asyncDispose]();
  }

  /** Never rejects. */
  async #serve(peer: PeerId, exchange: Exchange, connection: Connection): Promise<void> {
    const { clock, observer } = this.#options;
    const { response } = exchange;
    const began = clock.monotonic();
    const outcome: Outcome = { kind: 'invalid', bytes: 0 };
    let failure: WeirError | undefined;
    try {
      await this.#answer(peer, exchange, outcome);
    } catch (error) {
      failure = toWeirError(error);
      if (response.headersSent) connection.destroy();
      else sendStatus(response, statusOf(failure));
      response.interrupt(failure);
    }
    outcome.bytes = response.bytesSent;
    const seconds = (clock.monotonic() - began) / SECOND;
    observer.served({ peer, ...outcome, seconds, error: failure });
  }

  async #answer(peer: PeerId, { request, response }: Exchange, outcome: Outcome): Promise<void> {
    const { server, membership } = this.#options;
    const { gone } = response;
    const parsed = parseRequest(request);
    if ('refused' in parsed) {
      response.setHeader('Connection', 'close'); // a body may follow
      return sendStatus(response, parsed.refused);
    }
    let acknowledged = false;
    const acknowledge = (): void => {
      if (!acknowledged && !response.headersSent && !gone.aborted) response.processing();
      acknowledged = true;
    };
    const served = await server.serve(peer, parsed.request, acknowledge, gone);
    outcome.kind = served.kind;
    if (served.kind !== 'chunk') return sendRefusal(response, served);
    await sendChunk(response, parsed.request, served, () => {
      if (membership.isBanned(peer)) throw new WeirError('peer_refused', `${peer} is banned`);
    });
  }
}

/** A chunk whose pull is given up, or begun anew, is not here any more: this node has not failed. */
function statusOf(failure: WeirError): 404 | 500 {
  return isWeirError(failure, 'aborted') ? 404 : 500;
}
