/**
 * A request over HTTP and its response, as the code that decides on it sees them. The socket is in a byte worker, which
 * sends bodies out of files by itself (src/bytes). So what is said here is what to send, and never its bytes, except for
 * documents.
 *
 * The head of a response leaves with the first bytes of its body. If these cannot be read, nothing has been sent, and the
 * request can still be answered with an error.
 */
import {
  validateHeaderName,
  validateHeaderValue,
  type IncomingHttpHeaders,
  type ServerOptions as NodeOptions,
} from 'node:http';
import type { Content } from '../util/content.ts';
import type { ListenAddress } from './listen.ts';

export interface ExchangeRequest {
  readonly method: string;
  /** The request target, as it came. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** `1.1` */
  readonly httpVersion: string;
  readonly localAddress: string;
  readonly remoteAddress: string;
  readonly remotePort: number;
}

export interface SendOptions {
  /**
   * All of the bytes are in the file, also those that the content's progress does not reach: chunks arrive in any order. They
   * are right as long as the content has this generation.
   */
  readonly presentIn?: number | undefined;
  /** Ends the sending at the next buffer. That is no failure. */
  readonly stop?: AbortSignal | undefined;
  /** The body has waited a tenth of a second for the byte at this position; called once for each wait. */
  readonly onWaiting?: ((position: number) => void) | undefined;
}

export type HeaderValues = Readonly<Record<string, string | number>>;

export interface ExchangeResponse {
  /** The `id` of the byte worker that has the socket. */
  readonly worker: number;
  readonly statusCode: number;
  /** Whether a byte of the response has left. */
  readonly headersSent: boolean;
  /** Bytes of the body that were handed to the connection, as far as it is known here. */
  readonly bytesSent: number;
  /** Aborted when the connection is closed before the end of the response, or when it was {@link interrupt}ed. */
  readonly gone: AbortSignal;
  setHeader(name: string, value: string | number): void;
  removeHeader(name: string): void;
  /** Tells the client that its request is in hand (102). */
  processing(): void;
  /** The head is sent with what follows. May be called again as long as nothing was sent. */
  writeHead(status: number, headers?: HeaderValues): void;
  /** Ends the response. `body` is small, or undefined. */
  end(body?: string | Uint8Array): void;
  /**
   * Sends bytes of this thread's memory, and settles when the connection has taken them.
   * @throws WeirError `aborted` if the client left, or took nothing for too long
   */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Sends the bytes of `content` from `start` on, as they become readable. The file may be closed when this settles. A
   * response with a Content-Length ends by itself with the last of its bytes.
   * @returns the position behind the last byte that was sent: `end`, or less if it was stopped or the content was fetched
   *   anew
   * @throws WeirError `aborted` if the client left, or took nothing for too long; `store_corrupt`; `worker_lost`
   */
  send(content: Content, start: number, end: number, options?: SendOptions): Promise<number>;
  /** Fails what is being sent now or later with this reason. */
  interrupt(reason: Error): void;
  /**
   * Closes the connection cleanly, behind the bytes that have been written and short of Content-Length: containerd then
   * asks again with a Range. A reset would fail the pull.
   */
  closeShort(): void;
}

export interface Exchange {
  readonly request: ExchangeRequest;
  readonly response: ExchangeResponse;
}

export interface ServerLimits {
  /** Bytes. */
  readonly maxHeaderSize: number;
  /** Milliseconds for a request to arrive, and between two checks of that. */
  readonly requestTimeout: number;
  readonly timeoutCheck: number;
  /** Milliseconds for which an idle connection is kept. */
  readonly keepAlive: number;
  /** Connections of all workers together. */
  readonly maxConnections: number;
  /** Milliseconds in which a client must take a buffer of 256 KiB. */
  readonly clientTimeout: number;
}

/** The same in the words of node:http; what is counted here is not in them. */
export function nodeOptionsOf({
  maxHeaderSize,
  requestTimeout,
  timeoutCheck,
  keepAlive,
}: ServerLimits): NodeOptions {
  return {
    maxHeaderSize,
    headersTimeout: requestTimeout,
    requestTimeout,
    connectionsCheckingInterval: timeoutCheck,
    keepAliveTimeout: keepAlive,
    noDelay: true,
  };
}

/** A server for programs on this machine (local-server.ts). */
export interface ServerOptions {
  readonly limits: ServerLimits;
  readonly onExchange: (exchange: Exchange) => void;
  readonly onWarning: (message: string) => void;
}

/** One address that is listened on. */
export interface HttpListener extends AsyncDisposable {
  readonly host: string;
  /** The port that the system gave, if any would do. */
  readonly port: number;
  /** Takes no more connections, and closes those that are idle. */
  close(): void;
}

/** Listens, with the sockets in byte workers. */
export interface HttpListeners {
  /** @throws the system's error: EADDRINUSE, EADDRNOTAVAIL */
  listen(address: ListenAddress, options: ServerOptions): Promise<HttpListener>;
}

/** Headers by name, whatever its case, in the spelling in which they are sent. */
export class HeaderList {
  readonly #values = new Map<string, readonly [string, string | number]>();

  constructor(from?: HeaderList) {
    if (from !== undefined) for (const [key, entry] of from.#values) this.#values.set(key, entry);
  }

  /** @throws TypeError for a name or a value that cannot be sent */
  set(name: string, value: string | number): void {
    validateHeaderName(name);
    validateHeaderValue(name, String(value));
    this.#values.set(name.toLowerCase(), [name, value]);
  }

  delete(name: string): void {
    this.#values.delete(name.toLowerCase());
  }

  get entries(): readonly (readonly [string, string | number])[] {
    return [...this.#values.values()];
  }
}
