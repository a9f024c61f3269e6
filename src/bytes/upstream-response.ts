/** A response whose body a byte worker reads: this thread has its head, and says where the body goes. */
import { MIB } from '../util/clock.ts';
import { Progress } from '../util/progress.ts';
import { assertNever, WeirError } from '../util/errors.ts';
import type { BlobPart } from '../upstream/blob-part.ts';
import type { BlobResponse, BodySink, ChunkSink, FileSink } from '../upstream/blob-transport.ts';
import { abortError, throwIfAborted } from '../upstream/failure.ts';
import { headerOf, type Headers } from '../upstream/response.ts';
import type { ReadCommand, UpstreamCommand, UpstreamEvent } from './upstream-messages.ts';
import { fromWireError, toWireError } from './wire-error.ts';

/** Bytes of credit that are asked of the store at a time: as it takes room itself. */
const CREDIT = 16 * MIB;

/** What the worker says of a body that it reads. */
export type ReadEvent = Exclude<UpstreamEvent, { kind: 'head' | 'failed' }>;

export interface UpstreamResponseOptions {
  readonly call: number;
  readonly origin: string;
  readonly status: number;
  readonly headers: Headers;
  readonly signal: AbortSignal | undefined;
  /** The worker that has the body: its `id`, a way to it, and whether it has ended. */
  readonly worker: number;
  readonly post: (command: UpstreamCommand) => void;
  readonly isLost: () => boolean;
  /** Brings the events of this call from now on. */
  readonly begin: (body: { receive(event: ReadEvent): void; lost(): void }) => void;
  /** No more events are wanted. */
  readonly end: () => void;
}

/** A body that is being read. */
interface Reading {
  readonly part: BlobPart;
  readonly sink: BodySink;
  readonly reached: (position: number) => void;
  readonly done: PromiseWithResolvers<void>;
  /** Of a file: bytes before it are reserved. */
  reserved: number;
}

export class UpstreamResponse implements BlobResponse {
  readonly status: number;
  readonly headers: Headers;
  readonly origin: string;
  readonly #options: UpstreamResponseOptions;
  /** The sink's reason for which the body is not read to its end. */
  #refusal: { readonly error: unknown } | undefined;

  constructor(options: UpstreamResponseOptions) {
    this.#options = options;
    this.status = options.status;
    this.headers = options.headers;
    this.origin = options.origin;
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  header(name: string): string | undefined {
    return headerOf(this.headers, name);
  }

  discard(): void {
    this.#over();
    this.#options.post({ kind: 'discard', call: this.#options.call });
  }

  async read(part: BlobPart, sink: BodySink, reached: (position: number) => void): Promise<void> {
    const { signal, begin, post } = this.#options;
    const reserved = Math.min(part.end, part.start + CREDIT);
    const reading: Reading = { part, sink, reached, done: Promise.withResolvers(), reserved };
    try {
      if (sink.kind === 'file') await sink.reserve(reserved);
      throwIfAborted(signal);
      if (this.#options.isLost()) throw this.#lostError(sink);
    } catch (error) {
      this.#refuse(error);
      this.#over();
      throw error;
    }
    begin({
      receive: (event) => this.#receive(event, reading),
      lost: () => this.#lost(reading),
    });
    post(commandOf(this.#options.call, reading));
    await reading.done.promise;
  }

  #receive(event: ReadEvent, reading: Reading): void {
    try {
      this.#hear(event, reading);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #hear(event: ReadEvent, reading: Reading): void {
    const { sink, reached } = reading;
    switch (event.kind) {
      case 'progress':
        if (sink.kind === 'file') for (const { index, hash } of event.chunks) sink.wrote(index, hash);
        return reached(event.position);
      case 'want':
        return this.#want(event.index, reading);
      case 'chunk': {
        const { index, ...chunk } = event.chunk;
        reached(event.position);
        if (sink.kind === 'chunks') sink.chunk(index, { ...chunk, worker: this.#options.worker });
        return;
      }
      case 'ended':
        return this.#ended(event, reading);
      default:
        assertNever(event);
    }
  }

  #want(index: number, reading: Reading): void {
    const { sink } = reading;
    if (sink.kind === 'file') void this.#reserve(sink, reading);
    else if (sink.kind === 'chunks') void this.#begin(sink, index);
  }

  /** Never rejects. */
  async #reserve(sink: FileSink, reading: Reading): Promise<void> {
    const { call, post } = this.#options;
    const to = Math.min(reading.part.end, reading.reserved + CREDIT);
    try {
      await sink.reserve(to);
      reading.reserved = to;
      post({ kind: 'credit', call, to });
    } catch (error) {
      this.#refusal ??= { error };
      post({ kind: 'refuse', call });
    }
  }

  /** Never rejects. */
  async #begin(sink: ChunkSink, index: number): Promise<void> {
    const { call, post } = this.#options;
    try {
      await sink.begin(index);
      post({ kind: 'begin', call });
    } catch (error) {
      this.#refuse(error);
    }
  }

  #lost({ part, sink, reached, done }: Reading): void {
    this.#over();
    // It may have written more than it had told.
    const progress = sink.kind === 'file' ? sink.file.progress : undefined;
    if (progress !== undefined) reached(Math.min(part.end, new Progress(progress).prefix));
    done.reject(this.#lostError(sink));
  }

  #ended(event: Extract<ReadEvent, { kind: 'ended' }>, { sink, reached, done }: Reading): void {
    const { signal, worker } = this.#options;
    this.#over();
    if (sink.kind === 'file') for (const { index, hash } of event.chunks) sink.wrote(index, hash);
    reached(event.position);
    if (event.left !== undefined && sink.kind === 'chunks') sink.left({ ...event.left, worker });
    if (event.error === undefined) done.resolve();
    else if (this.#refusal !== undefined) done.reject(this.#refusal.error);
    else done.reject(signal?.aborted ? abortError(signal) : fromWireError(event.error));
  }

  readonly #onAbort = (): void => {
    const { signal } = this.#options;
    if (signal !== undefined) this.#abort(abortError(signal));
  };

  /** Ends the body; if it is being read, the worker says so. */
  #refuse(error: unknown): void {
    this.#refusal ??= { error };
    this.#abort(new WeirError('aborted', 'the body is not wanted any more'));
  }

  #abort(error: WeirError): void {
    this.#options.post({ kind: 'abort', call: this.#options.call, error: toWireError(error) });
  }

  #over(): void {
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#options.end();
  }

  #lostError({ kind }: BodySink): WeirError {
    // A file keeps what was written: another worker goes on there. The rest is gone with the worker's memory.
    const code = kind === 'file' ? 'upstream_cut' : 'worker_lost';
    return new WeirError(code, `${this.origin}: the byte worker that read from it has ended`);
  }
}

function commandOf(call: number, { part, sink, reserved }: Reading): ReadCommand {
  switch (sink.kind) {
    case 'file':
      return { kind: 'pour', call, part, file: sink.file, reserved };
    case 'chunks':
      return { kind: 'collect', call, part, size: sink.size, place: sink.resume()?.place };
    case 'pass':
      return { kind: 'pass', call, part, pass: sink.pass };
    default:
      return assertNever(sink);
  }
}
