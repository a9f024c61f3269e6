/**
 * Content that comes gzipped although identity was asked for, unpacked. Go's client asks for gzip and unpacks by itself, so
 * runtimes never see which registries and proxies do it.
 */
import { createGunzip, gunzipSync, type Gunzip } from 'node:zlib';
import type { Dispatcher } from 'undici';
import { systemCode, WeirError } from '../util/errors.ts';

const MAGIC = Buffer.from([0x1f, 0x8b]);

/**
 * A document, which is JSON and so never begins like gzip (RFC 1952, section 2.3.1).
 * @param limit bytes of the unpacked document
 * @throws WeirError `upstream_too_large`, `upstream_protocol`
 */
export function unpackDocument(bytes: Buffer, limit: number, origin: string): Buffer {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return bytes;
  try {
    return gunzipSync(bytes, { maxOutputLength: limit });
  } catch (cause) {
    if (systemCode(cause) === 'ERR_BUFFER_TOO_LARGE')
      throw new WeirError('upstream_too_large', `${origin}: an answer of more than ${limit} bytes`, {
        cause,
      });
    throw brokenGzip(origin, cause);
  }
}

/** Unpacks the body of a good response on its way to `handler`, if its header names gzip. */
export class Unpacking implements Dispatcher.DispatchHandler {
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #origin: string;
  #gunzip: Gunzip | undefined;

  constructor(handler: Dispatcher.DispatchHandler, origin: string) {
    this.#handler = handler;
    this.#origin = origin;
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.#handler.onRequestStart?.(controller, context);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status !== 200 || !/^\s*(?:x-)?gzip\s*$/i.test(String(headers['content-encoding'] ?? ''))) {
      this.#handler.onResponseStart?.(controller, status, headers);
      return;
    }
    const { 'content-encoding': _, 'content-length': __, ...rest } = headers;
    const gunzip = createGunzip();
    this.#gunzip = gunzip;
    // Whoever reads the body pauses the unpacking, which then pauses the connection.
    const inner: Dispatcher.DispatchController = {
      get aborted() {
        return controller.aborted;
      },
      get paused() {
        return gunzip.isPaused();
      },
      get reason() {
        return controller.reason;
      },
      rawHeaders: controller.rawHeaders ?? null,
      rawTrailers: null,
      pause: () => void gunzip.pause(),
      resume: () => void gunzip.resume(),
      abort: (reason) => {
        gunzip.destroy();
        controller.abort(reason);
        // undici tells nobody of an abort when all has come.
        this.onResponseError(controller, reason);
      },
    };
    gunzip.on('data', (bytes: Buffer) => this.#handler.onResponseData?.(inner, bytes));
    gunzip.on('end', () => this.#handler.onResponseEnd?.(inner, {}));
    gunzip.on('drain', () => controller.resume());
    gunzip.on('error', (error) => inner.abort(brokenGzip(this.#origin, error)));
    this.#handler.onRequestStart?.(inner, {});
    this.#handler.onResponseStart?.(inner, status, rest);
  }

  onResponseData(controller: Dispatcher.DispatchController, bytes: Buffer): void {
    if (this.#gunzip === undefined) return this.#handler.onResponseData?.(controller, bytes);
    // The connection's memory is used again.
    if (!this.#gunzip.destroyed && !this.#gunzip.write(Buffer.from(bytes))) controller.pause();
  }

  onResponseEnd(controller: Dispatcher.DispatchController, trailers: Record<string, string>): void {
    if (this.#gunzip === undefined) this.#handler.onResponseEnd?.(controller, trailers);
    else this.#gunzip.end();
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    this.#gunzip?.destroy();
    this.#handler.onResponseError?.(controller, error);
  }
}

function brokenGzip(origin: string, cause: unknown): WeirError {
  return new WeirError('upstream_protocol', `${origin} answered with broken gzip`, { cause });
}
