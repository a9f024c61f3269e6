/** The response to one request, in the byte worker that has its socket: does what the main thread says, in its order. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { SECOND } from '../util/clock.ts';
import { assertNever, WeirError } from '../util/errors.ts';
import { LARGE, type BodyBuffers } from './body-buffers.ts';
import { BodySender } from './body-sender.ts';
import type { Post } from './byte-worker.ts';
import type { ChunkPlaces } from './chunk-places.ts';
import type { EndCommand, ExchangeCommand, Head, SendCommand, WriteCommand } from './http-messages.ts';
import { toWireError } from './wire-error.ts';

/** Milliseconds between two reports of a body that is being sent. */
const REPORT_EVERY = 1 * SECOND;

export interface AnswerOptions {
  readonly exchange: number;
  readonly post: Post<'http'>;
  readonly buffers: BodyBuffers;
  readonly places: ChunkPlaces;
  /** Milliseconds in which the client must take a buffer. */
  readonly clientTimeout: number;
  /** The response is over, and nothing of it is being sent any more. */
  readonly onOver: () => void;
}

export class Answer {
  readonly #options: AnswerOptions;
  readonly #response: ServerResponse;
  /** Settles when all that was said so far is done. */
  #tail: Promise<void> = Promise.resolve();
  #head: Head | undefined;
  /** Bytes of the body: that were written, and that Content-Length announces. */
  #sent = 0;
  #length: number | undefined;
  #reportedAt = performance.now();
  /** What is being done. */
  #current: { readonly call: number; readonly stop: () => void } | undefined;
  /** Calls that are to be stopped, and have not begun yet. */
  readonly #stopped = new Set<number>();
  /** Fails the write that is under way. */
  #fail: ((error: Error) => void) | undefined;
  #isGone = false;

  constructor(request: IncomingMessage, response: ServerResponse, options: AnswerOptions) {
    this.#options = options;
    this.#response = response;
    const { socket } = request;
    const onGone = (): void => {
      socket.off('close', onGone);
      response.off('close', onGone);
      this.#onGone();
    };
    response.once('close', onGone);
    // A response that waits for the one before it is not told that its connection is closed.
    socket.once('close', onGone);
  }

  do(command: ExchangeCommand): void {
    switch (command.kind) {
      case 'write':
        return this.#later(() => this.#report(command, () => this.#writeAll(command)));
      case 'send':
        return this.#later(() => this.#report(command, () => this.#send(command)));
      case 'end':
        return this.#later(() => this.#end(command));
      case 'stop':
        if (this.#current?.call === command.call) this.#current.stop();
        else this.#stopped.add(command.call);
        return;
      case 'processing':
        if (!this.#isGone && !this.#response.headersSent) this.#response.writeProcessing();
        return;
      case 'closeShort':
        this.#response.socket?.destroySoon();
        return;
      default:
        assertNever(command);
    }
  }

  #later(work: () => Promise<void> | void): void {
    this.#tail = this.#tail.then(work).catch(() => {
      this.#response.req.socket.destroy(); // a head that cannot be sent: the client must not wait for ever
    });
  }

  #end({ head, body }: EndCommand): void {
    if (this.#isGone || this.#response.writableEnded) return;
    if (head !== undefined) this.#writeHead(head);
    this.#response.end(body);
  }

  /** Tells how the work ended. Never rejects. */
  async #report({ call, head }: WriteCommand | SendCommand, work: () => Promise<number>): Promise<void> {
    const { exchange, post } = this.#options;
    this.#head = head;
    let position = 0;
    let error: unknown;
    try {
      if (this.#isGone) throw connectionGone();
      position = await work();
    } catch (thrown) {
      error = thrown;
    }
    this.#head = undefined;
    this.#current = undefined;
    this.#stopped.delete(call);
    post({
      kind: 'done',
      exchange,
      call,
      sent: this.#sent,
      position,
      isHeadSent: this.#response.headersSent,
      isEnded: this.#response.writableEnded,
      error: error === undefined ? undefined : toWireError(error),
    });
  }

  async #writeAll({ call, bytes }: WriteCommand): Promise<number> {
    const stopped = new WeirError('aborted', 'the response was given up');
    if (this.#stopped.has(call)) throw stopped;
    const stop = new AbortController();
    this.#current = {
      call,
      stop: () => {
        stop.abort(stopped);
        this.#fail?.(stopped);
      },
    };
    for (let at = 0; at < bytes.length; at += LARGE) {
      stop.signal.throwIfAborted();
      await this.#write(bytes.subarray(at, at + LARGE));
    }
    return bytes.length;
  }

  async #send({ call, ...part }: SendCommand): Promise<number> {
    const { exchange, post, buffers, places } = this.#options;
    if (this.#stopped.has(call)) return part.start;
    const sender = new BodySender(part, {
      buffers,
      places,
      write: (bytes) => this.#write(bytes),
      onWaiting: (position) => post({ kind: 'waiting', exchange, call, position }),
    });
    this.#current = { call, stop: () => sender.stop() };
    await sender.run();
    if (this.#isGone && sender.position < part.end) throw connectionGone();
    return sender.position;
  }

  /** Settles when the bytes have left for the kernel. */
  #write(bytes: Uint8Array): Promise<void> {
    if (this.#isGone) return Promise.reject(connectionGone());
    const response = this.#response;
    if (this.#head !== undefined) this.#writeHead(this.#head);
    const { clientTimeout } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#fail = reject;
    const timer = setTimeout(() => {
      reject(new WeirError('aborted', `the client took no byte for ${clientTimeout / SECOND} s`));
      // `response.socket` is null while an earlier response is being sent on this connection.
      response.req.socket.destroy();
    }, clientTimeout);
    response.write(bytes, (error) => {
      clearTimeout(timer);
      if (error) reject(connectionGone(error));
      else resolve();
    });
    this.#count(bytes.length);
    if (this.#sent === this.#length) response.end();
    return promise.finally(() => clearTimeout(timer));
  }

  #writeHead({ status, headers }: Head): void {
    this.#head = undefined;
    const length = headers.find(([name]) => name.toLowerCase() === 'content-length');
    this.#length = length === undefined ? undefined : Number(length[1]);
    for (const [name, value] of headers) this.#response.setHeader(name, value);
    this.#response.writeHead(status);
  }

  #count(bytes: number): void {
    this.#sent += bytes;
    const now = performance.now();
    if (now - this.#reportedAt < REPORT_EVERY) return;
    this.#reportedAt = now;
    const { exchange, post } = this.#options;
    post({ kind: 'sent', exchange, sent: this.#sent });
  }

  #onGone(): void {
    const { exchange, post, onOver } = this.#options;
    this.#isGone = true;
    this.#fail?.(connectionGone());
    this.#current?.stop();
    post({ kind: 'gone', exchange, isComplete: this.#response.writableFinished });
    void this.#tail.then(onOver);
  }
}

/**
 * The client closed while bytes were on their way, as containerd 2 does with each of its parallel open-ended ranges. That
 * is no failure of this node, and no reason to send the client upstream.
 */
export function connectionGone(cause?: Error): WeirError {
  return new WeirError('aborted', 'the client closed the connection', { cause });
}
