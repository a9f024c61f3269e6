/**
 * Reads a response no faster than a limit on rates allows: its socket is paused, so that the registry sends more slowly. The
 * time limit for a stalled body rests meanwhile, as undici does not count while it is paused.
 */
import type { Dispatcher } from 'undici';
import type { RateLimit } from '../util/token-bucket.ts';

/** @param limit undefined: none, ever. One without a rate costs a look for each read */
export function paced(
  handler: Dispatcher.DispatchHandler,
  limit: Pick<RateLimit, 'reserve'> | undefined,
): Dispatcher.DispatchHandler {
  return limit === undefined ? handler : new Paced(handler, limit);
}

class Paced implements Dispatcher.DispatchHandler {
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #limit: Pick<RateLimit, 'reserve'>;
  #controller: Dispatcher.DispatchController | undefined;
  /** The connection as the handler sees it. */
  #inner: Dispatcher.DispatchController | undefined;
  #hold: NodeJS.Timeout | undefined;
  /** The handler has paused it, too. */
  #isPaused = false;

  constructor(handler: Dispatcher.DispatchHandler, limit: Pick<RateLimit, 'reserve'>) {
    this.#handler = handler;
    this.#limit = limit;
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: object): void {
    this.#handler.onRequestStart?.(this.#innerOf(controller), context);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[]>,
    message?: string,
  ): void {
    this.#handler.onResponseStart?.(this.#innerOf(controller), status, headers, message);
  }

  onResponseData(controller: Dispatcher.DispatchController, bytes: Buffer): void {
    this.#handler.onResponseData?.(this.#innerOf(controller), bytes);
    const wait = this.#limit.reserve(bytes.length);
    if (wait <= 0) return;
    controller.pause();
    // TLS gives what it has decrypted, paused or not: each of these moves the end of the same pause.
    clearTimeout(this.#hold);
    this.#hold = setTimeout(() => {
      this.#hold = undefined;
      if (!this.#isPaused) controller.resume();
    }, wait);
  }

  onResponseEnd(controller: Dispatcher.DispatchController, trailers: Record<string, string>): void {
    clearTimeout(this.#hold);
    this.#handler.onResponseEnd?.(this.#innerOf(controller), trailers);
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    clearTimeout(this.#hold);
    this.#handler.onResponseError?.(this.#innerOf(controller), error);
  }

  #innerOf(controller: Dispatcher.DispatchController): Dispatcher.DispatchController {
    if (this.#controller === controller && this.#inner !== undefined) return this.#inner;
    const pause = (): void => {
      this.#isPaused = true;
      controller.pause();
    };
    const resume = (): void => {
      this.#isPaused = false;
      if (this.#hold === undefined) controller.resume();
    };
    this.#controller = controller;
    this.#inner = {
      get aborted() {
        return controller.aborted;
      },
      get paused() {
        return controller.paused;
      },
      get reason() {
        return controller.reason;
      },
      get rawHeaders() {
        return controller.rawHeaders ?? null;
      },
      get rawTrailers() {
        return controller.rawTrailers ?? null;
      },
      pause,
      resume,
      abort: (reason) => controller.abort(reason),
    };
    return this.#inner;
  }
}
