/**
 * Reads the bytes of one blob in order, from a given byte on, and resumes after broken connections.
 *
 * After a cut, a reset or a stall it asks the registry again, from the byte where the stream stopped. It does not ask
 * the storage that the registry had redirected to, because signed URLs expire.
 *
 * Range requests carry no If-Range. A blob's bytes never change under its digest, while storage behind one registry
 * gives the same blob different ETags (multipart uploads, CDN edges). A condition would only turn resumptions into
 * whole downloads. This file checks that the size stays the same, and the reader checks the digest.
 */
import { MIB } from '../util/clock.ts';
import { isWeirError, toWeirError, WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Repository } from '../oci/repository.ts';
import {
  contentLength,
  contentRange,
  expectStatus,
  protocolError,
  refuseEncoding,
  unsatisfiedTotal,
} from './registry-answer.ts';
import { Attempts, type AttemptsContext } from './attempts.ts';
import { callerId, type Caller } from './caller.ts';
import { requestTarget, type Endpoint } from './endpoint.ts';
import type { RegistryCall } from './registry-call.ts';
import type { Response } from './response.ts';

/** The observer is told after so many bytes; a call for each buffer would cost more than it is worth. */
const REPORT_STEP = MIB;

export interface BlobRequest {
  readonly repository: Repository;
  readonly digest: Digest;
  readonly caller: Caller;
  /** The other callers that wait for the blob: asked for if this one is refused. */
  readonly callers: (() => readonly Caller[]) | undefined;
  readonly start: number;
  /** Excluded; undefined means the blob's end. */
  readonly end: number | undefined;
  readonly retries: number;
  readonly signal: AbortSignal | undefined;
}

/** One good response: its body is bytes `from` to `to` of the blob, `to` excluded. */
interface Part {
  readonly response: Response;
  readonly from: number;
  readonly to: number;
}

export class UpstreamBlob {
  readonly #registryCall: RegistryCall;
  readonly #context: AttemptsContext;
  readonly #request: BlobRequest;
  readonly #attempts: Attempts;
  #caller: Caller;
  #position: number;
  #end: number;
  #size: number | undefined;
  #unreported = 0;

  constructor(registryCall: RegistryCall, context: AttemptsContext, request: BlobRequest) {
    this.#registryCall = registryCall;
    this.#context = context;
    this.#request = request;
    this.#attempts = new Attempts(context, request.repository.registry, request.retries, request.signal);
    this.#caller = request.caller;
    this.#position = request.start;
    this.#end = request.end ?? Number.POSITIVE_INFINITY;
  }

  /** Resolves with the blob's size when the first good response has begun. @throws WeirError */
  async open(): Promise<{
    readonly size: number;
    readonly chunks: AsyncGenerator<Uint8Array, void, undefined>;
  }> {
    const first = await this.#next();
    if (this.#size === undefined) throw new WeirError('internal', 'a part without the size of its blob');
    return { size: this.#size, chunks: this.#chunks(first) };
  }

  async *#chunks(first: Part | undefined): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (
        let part = first;
        part !== undefined;
        part = this.#position < this.#end ? await this.#next() : undefined
      ) {
        try {
          yield* this.#read(part);
        } catch (error) {
          if (this.#position < this.#end) await this.#attempts.failed(toWeirError(error));
        }
      }
    } finally {
      this.#report();
    }
  }

  async *#read({ response, from, to }: Part): AsyncGenerator<Uint8Array, void, undefined> {
    let at = from;
    for await (const chunk of response.chunks()) {
      // A registry that ignores ranges sends bytes before `position`; bytes after `end` are not wanted.
      const begin = Math.max(0, this.#position - at);
      at += chunk.length;
      if (at > to) throw protocolError(response, 'more bytes than announced');
      const wanted = Math.min(chunk.length, chunk.length - (at - this.#end));
      if (begin >= wanted) continue;
      this.#position += wanted - begin;
      this.#unreported += wanted - begin;
      if (this.#unreported >= REPORT_STEP) this.#report();
      this.#attempts.progressed();
      yield begin === 0 && wanted === chunk.length ? chunk : chunk.subarray(begin, wanted);
      if (this.#position >= this.#end && at < to) return;
    }
    if (at < to)
      throw new WeirError('upstream_cut', `${response.origin} ended a blob ${to - at} bytes early`);
  }

  #report(): void {
    if (this.#unreported === 0) return;
    this.#context.observer?.bytes(this.#request.repository.registry, this.#unreported);
    this.#unreported = 0;
  }

  /** A good response for the missing bytes; undefined if the blob ends here. */
  #next(): Promise<Part | undefined> {
    return this.#attempts.run((endpoint) => this.#askForAnyCaller(endpoint));
  }

  async #askForAnyCaller(endpoint: Endpoint): Promise<Part | undefined> {
    const refused = new Set<string>();
    for (;;) {
      try {
        return await this.#ask(endpoint);
      } catch (error) {
        if (!isWeirError(error, 'upstream_unauthorized', 'upstream_denied')) throw error;
        refused.add(callerId(this.#caller));
        const others = endpoint.isMirror ? [] : (this.#request.callers?.() ?? []);
        const next = others.find((caller) => !refused.has(callerId(caller)));
        if (next === undefined) throw error;
        this.#caller = next;
      }
    }
  }

  async #ask(endpoint: Endpoint): Promise<Part | undefined> {
    const { repository, digest, signal } = this.#request;
    const isWhole = this.#position === 0 && this.#request.end === undefined;
    const last = this.#request.end === undefined ? '' : this.#end - 1;
    const followed = await this.#registryCall.run({
      endpoint,
      kind: 'blob',
      lane: 'blob',
      method: 'GET',
      target: requestTarget(endpoint, repository.name, `blobs/${digest}`),
      name: repository.name,
      headers: { accept: '*/*', ...(!isWhole && { range: `bytes=${this.#position}-${last}` }) },
      caller: this.#caller,
      signal,
    });
    const expected = isWhole ? [200] : [200, 206, 416];
    const response = expectStatus(followed, expected, 'blob_unknown', this.#context.clock);
    try {
      return this.#accept(response);
    } catch (error) {
      response.discard();
      throw error;
    }
  }

  #accept(response: Response): Part | undefined {
    refuseEncoding(response);
    if (response.status === 416) return this.#atEnd(response);
    const length = contentLength(response);
    if (response.status === 200) {
      if (length === undefined) throw protocolError(response, 'a blob without Content-Length');
      this.#fixSize(response, length);
      return { response, from: 0, to: length };
    }
    const { start, end, total } = contentRange(response);
    if (start !== this.#position || end > this.#end || (length !== undefined && length !== end - start)) {
      throw protocolError(response, 'another range than asked for');
    }
    this.#fixSize(response, total);
    return { response, from: start, to: end };
  }

  /** A 416 is correct for a range that begins at the blob's end: nothing is missing. */
  #atEnd(response: Response): undefined {
    const total = unsatisfiedTotal(response);
    if (total !== this.#position) throw protocolError(response, 'status 416 to a range within the blob');
    response.discard();
    this.#fixSize(response, total);
    return undefined;
  }

  #fixSize(response: Response, size: number): void {
    if (this.#size !== undefined && this.#size !== size) {
      throw protocolError(response, `another size of the blob (${size}, not ${this.#size} bytes)`);
    }
    if (this.#position > size) throw protocolError(response, 'a blob that ends before the byte asked for');
    this.#size = size;
    this.#end = Math.min(this.#end, size);
  }
}
