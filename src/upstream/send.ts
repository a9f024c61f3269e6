/** Sends one request to a server, by undici. */
import type { Dispatcher } from 'undici';
import type { RateLimit } from '../util/token-bucket.ts';
import { abortError } from './failure.ts';
import { Unpacking } from './gzip.ts';
import { paced } from './paced.ts';
import { Response } from './response.ts';

export interface SendOptions {
  readonly origin: string;
  readonly method: 'GET' | 'HEAD' | 'POST';
  /** Path and query. */
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body?: string | undefined;
  /** Milliseconds until the response's header; default: that of the pool. */
  readonly headerTimeout?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** The connection serves no other request. */
  readonly isLast?: boolean;
  /** Whether a body that is gzipped by its header is unpacked. */
  readonly unpack?: boolean | undefined;
  /** Counts what comes of the body. */
  readonly limit?: Pick<RateLimit, 'reserve'> | undefined;
}

/**
 * Sends a request, and resolves with the header of its response. The caller must read the body or discard it.
 * @throws WeirError `upstream_unreachable`, `upstream_timeout`, `upstream_cut`, `upstream_protocol`, `aborted`
 */
export function send(dispatcher: Dispatcher, options: SendOptions): Promise<Response> {
  const {
    origin,
    method,
    path,
    headers,
    body,
    headerTimeout,
    signal,
    isLast = false,
    unpack,
    limit,
  } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(abortError(signal));
      return;
    }
    const response = new Response(origin, signal, { resolve, reject });
    try {
      const time = headerTimeout !== undefined && { headersTimeout: headerTimeout };
      const request = { origin, method, path, headers, body: body ?? null, reset: isLast };
      const handler = unpack ? new Unpacking(response, origin) : response;
      dispatcher.dispatch({ ...request, ...time }, paced(handler, limit));
    } catch (error) {
      response.onResponseError(undefined, error);
    }
  });
}
