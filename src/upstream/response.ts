/**
 * One response, as undici's dispatcher delivers it.
 *
 * The body comes in memory that is used again (reused-memory.ts), because blobs are GiBs: a {@link BodyTaker} gets it there,
 * with no stream object in between. Bytes that nobody takes at once are copied and wait. Reading pauses while {@link
 * HIGH_WATER} bytes wait. The time-out for a stalled body rests meanwhile (undici does not count while paused). So a slow
 * reader is never taken for a stalled registry.
 */
import type { Dispatcher } from 'undici';
import { KIB } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { ByteQueue } from '../util/byte-queue.ts';
import type { DocumentRoom } from './document-room.ts';
import { abortError, transportError } from './failure.ts';
import { unpackDocument } from './gzip.ts';

export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/** What a response says before its body, wherever the body is read. */
export interface ResponseHead {
  readonly status: number;
  readonly headers: Headers;
  readonly origin: string;
  /** The value of a header, see {@link headerOf}. */
  header(name: string): string | undefined;
  /** Drops the body. */
  discard(): void;
}

/** Headers that hold a list, so that repeated lines are joined (RFC 9110, section 5.3). */
const LISTS: ReadonlySet<string> = new Set(['www-authenticate', 'link']);

/**
 * The value of a header. Of any other than a list the first line counts: a proxy that adds a line again must not make
 * two types, or two places, of one.
 */
export function headerOf(headers: Headers, name: string): string | undefined {
  const value = headers[name];
  if (typeof value !== 'object') return value;
  return LISTS.has(name) ? value.join(', ') : value[0];
}

/**
 * Bytes that may wait for the reader before the socket is paused: some reads of 64 KiB, so that both sides keep busy.
 */
const HIGH_WATER = 512 * KIB;
/** Reading resumes below so many waiting bytes, so that the reader does not run dry meanwhile. */
const LOW_WATER = 256 * KIB;
/** Bytes of an unwanted body that are read to keep the connection; a longer one costs more than a new connection. */
const MAX_DISCARD = 64 * KIB;

/**
 * Takes bytes of a body, which are valid until it returns.
 * @returns how many it took; after fewer than all it gets none until {@link Response.more}
 * @throws what {@link Response.into} rejects with
 */
export type BodyTaker = (bytes: Uint8Array) => number;

interface Taking {
  readonly take: BodyTaker;
  readonly done: PromiseWithResolvers<void>;
  /** It took fewer bytes than there were. */
  isFull: boolean;
}

interface Waiter {
  readonly resolve: (response: Response) => void;
  readonly reject: (error: WeirError) => void;
}

export class Response implements Dispatcher.DispatchHandler, ResponseHead {
  status = 0;
  headers: Headers = {};
  readonly origin: string;
  readonly #signal: AbortSignal | undefined;
  readonly #queue = new ByteQueue();
  #waiter: Waiter | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #aborted: WeirError | undefined;
  #ended = false;
  #failure: WeirError | undefined;
  /** Bytes discarded so far; undefined while the body is wanted. */
  #discarded: number | undefined;
  #wake: (() => void) | undefined;
  #taking: Taking | undefined;

  constructor(origin: string, signal: AbortSignal | undefined, waiter: Waiter) {
    this.origin = origin;
    this.#signal = signal;
    this.#waiter = waiter;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  header(name: string): string | undefined {
    return headerOf(this.headers, name);
  }

  /**
   * Gives the body to `take` as it comes; settles when all of it is taken, or with {@link leave}.
   * @throws WeirError `upstream_cut`, `upstream_stalled`, `aborted`; an error of `take`, which closes the connection
   */
  async into(take: BodyTaker): Promise<void> {
    const taking = { take, done: Promise.withResolvers<void>(), isFull: false };
    this.#taking = taking;
    try {
      this.more();
      await taking.done.promise;
    } finally {
      this.#signal?.removeEventListener('abort', this.#onAbort);
    }
  }

  /** Whoever takes the body takes more now. */
  more(): void {
    const taking = this.#taking;
    if (taking === undefined) return;
    taking.isFull = false;
    while (this.#taking === taking && !taking.isFull && this.#queue.first !== undefined) {
      this.#queue.drop(this.#give(this.#queue.first, taking));
    }
    if (this.#queue.bytes < LOW_WATER) this.#controller?.resume();
    this.#settle();
  }

  /** Whoever takes the body has all that it wants: the connection is closed if there is more. */
  leave(): void {
    this.#taking?.done.resolve();
    this.#taking = undefined;
    this.abort(new WeirError('aborted', 'the reader left'));
  }

  /** @returns how many bytes were taken */
  #give(bytes: Uint8Array, taking: Taking): number {
    try {
      const taken = taking.take(bytes);
      taking.isFull = taken < bytes.length;
      return taken;
    } catch (error) {
      taking.done.reject(error);
      this.#taking = undefined;
      this.abort(new WeirError('aborted', 'the body cannot be taken'));
      return bytes.length;
    }
  }

  /** Ends {@link into} if nothing more comes. What came before a failure is taken first; after an abort nothing is. */
  #settle(): void {
    const taking = this.#taking;
    if (taking === undefined || (this.#queue.bytes > 0 && this.#aborted === undefined)) return;
    if (this.#failure !== undefined) taking.done.reject(this.#failure);
    else if (this.#ended) taking.done.resolve();
  }

  /**
   * The body, buffer by buffer. Leaving the loop early closes the connection.
   * @throws WeirError `upstream_cut`, `upstream_stalled`, `aborted`
   */
  async *chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) {
        const chunk = this.#queue.shift();
        if (chunk !== undefined) {
          if (this.#queue.bytes < LOW_WATER) this.#controller?.resume();
          yield chunk;
        } else if (this.#failure !== undefined) {
          throw this.#failure;
        } else if (this.#ended) {
          return;
        } else {
          await new Promise<void>((resolve) => (this.#wake = resolve));
        }
      }
    } finally {
      if (!this.#ended) this.abort(new WeirError('aborted', 'the reader left'));
      this.#signal?.removeEventListener('abort', this.#onAbort);
    }
  }

  /**
   * The whole body of a document, unpacked if it came gzipped.
   * @param room where its bytes count until all have arrived
   * @throws WeirError `upstream_too_large` beyond `limit` bytes, `too_many_requests` without room, `upstream_protocol`,
   *   and as {@link chunks}
   */
  async read(limit: number, room?: DocumentRoom): Promise<Buffer> {
    const tooLarge = (): WeirError =>
      new WeirError('upstream_too_large', `${this.origin}: an answer of more than ${limit} bytes`);
    const announced = Number(this.header('content-length') ?? 0);
    if (announced > limit) {
      this.abort(tooLarge());
      throw tooLarge();
    }
    using held = room?.hold();
    const parts: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of this.chunks()) {
      length += chunk.length;
      if (length > limit) throw tooLarge();
      held?.grow(length);
      parts.push(chunk);
    }
    return unpackDocument(Buffer.concat(parts, length), limit, this.origin);
  }

  /** Drops the body. A short one is read in the background, so that the connection can be used again. */
  discard(): void {
    if (this.#ended || this.#failure !== undefined) {
      this.#queue.takeAll();
      this.#signal?.removeEventListener('abort', this.#onAbort);
      return;
    }
    this.#discarded = this.#queue.bytes;
    this.#queue.takeAll();
    if (Number(this.header('content-length') ?? 0) > MAX_DISCARD || this.#discarded > MAX_DISCARD) {
      this.abort(new WeirError('aborted', 'the body is not wanted'));
    } else {
      this.#controller?.resume();
    }
  }

  abort(reason: WeirError): void {
    // Its last bytes may wait to be taken.
    if (this.#ended || this.#failure !== undefined) return this.#taking?.done.reject(reason);
    this.#aborted = reason;
    // Without a controller the request still waits for a connection: onRequestStart aborts it then.
    if (this.#controller === undefined) this.#fail(reason);
    else this.#controller.abort(reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#aborted !== undefined) controller.abort(this.#aborted);
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: Headers): void {
    if (status < 200) return;
    this.status = status;
    this.headers = headers;
    this.#waiter?.resolve(this);
    this.#waiter = undefined;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#discarded !== undefined) {
      this.#discarded += chunk.length;
      if (this.#discarded > MAX_DISCARD) this.abort(new WeirError('aborted', 'the body is not wanted'));
      return;
    }
    const taking = this.#queue.bytes === 0 ? this.#taking : undefined;
    const taken = taking === undefined || taking.isFull ? 0 : this.#give(chunk, taking);
    if (taken === chunk.length) return;
    this.#queue.copy(chunk.subarray(taken));
    if (this.#queue.bytes >= HIGH_WATER) controller.pause();
    this.#notify();
  }

  onResponseEnd(): void {
    this.#ended = true;
    if (this.#queue.bytes === 0) this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#notify();
  }

  onResponseError(_controller: unknown, error: unknown): void {
    const failure = this.#aborted ?? transportError(error, this.origin);
    // Behind a good head, what cannot be parsed is what a broken connection left of the body.
    const isCut = this.#waiter === undefined && failure.code === 'upstream_protocol';
    this.#fail(isCut ? new WeirError('upstream_cut', failure.message, failure) : failure);
  }

  readonly #onAbort = (): void => {
    if (this.#signal !== undefined) this.abort(abortError(this.#signal));
  };

  #fail(error: WeirError): void {
    if (this.#ended || this.#failure !== undefined) return;
    this.#failure = error;
    if (this.#queue.bytes === 0) this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#waiter?.reject(error);
    this.#waiter = undefined;
    this.#notify();
  }

  #notify(): void {
    this.#settle();
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
