/**
 * Asks for the bytes of one blob in order, from a given byte on, and resumes after broken connections. The bytes themselves
 * are read in byte workers (blob-transport.ts).
 *
 * After a cut, a reset or a stall it asks the registry again, from the byte where the stream stopped. It does not ask
 * the storage that the registry had redirected to, because signed URLs expire.
 *
 * Range requests carry no If-Range. A blob's bytes never change under its digest, while storage behind one registry
 * gives the same blob different ETags (multipart uploads, CDN edges). A condition would only turn resumptions into
 * whole downloads. This file checks that the size stays the same, and the reader checks the digest.
 */
import { isWeirError, toWeirError, WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Repository } from '../oci/repository.ts';
import {
  contentLength,
  contentRange,
  expectStatus,
  protocolError,
  isGzipped,
  type ContentRange,
  unsatisfiedTotal,
} from './registry-answer.ts';
import { Attempts, type AttemptsContext } from './attempts.ts';
import type { BlobResponse, BlobTransport, BodySink } from './blob-transport.ts';
import { callerId, type Caller } from './caller.ts';
import { requestTarget, type Endpoint } from './endpoint.ts';
import type { Followed } from './redirect.ts';
import type { RegistryCall } from './registry-call.ts';

export interface BlobRequest {
  readonly repository: Repository;
  readonly digest: Digest;
  readonly caller: Caller;
  /** The other callers that wait for the blob: asked for if this one is refused. */
  readonly callers: (() => readonly Caller[]) | undefined;
  readonly start: number;
  /** Excluded; undefined means the blob's end. */
  readonly end: number | undefined;
  /** Bytes of the whole blob, as a manifest lists it; undefined if that is not known. */
  readonly size: number | undefined;
  readonly retries: number;
  readonly signal: AbortSignal | undefined;
  /** The byte worker that holds bytes before the wanted ones; undefined: any will do. */
  readonly worker: (() => number | undefined) | undefined;
}

/** Statuses with which registries without ranges were seen to answer one. */
const RANGE_REFUSED: ReadonlySet<number> = new Set([400, 403, 405, 501]);

/** One good response: its body is bytes `from` to `to` of the blob, `to` excluded. */
interface Part {
  readonly response: BlobResponse;
  readonly from: number;
  readonly to: number;
}

export interface BlobStream {
  /** Bytes of the whole blob, even if a part of it was asked for. */
  readonly size: number;
  /** A part was asked for, and the registry sends the whole: the bytes before and behind the part cost as much. */
  readonly isWholeForPart: boolean;
  /**
   * Reads the wanted bytes into `sink`; holds a connection until then, or until the call's signal is aborted. To be called
   * once. When it settles, nothing is written any more.
   * @param reached told how far bytes have come
   * @throws WeirError `upstream_*`, `aborted`, `store_full`, `store_unusable`, `worker_lost`
   */
  readInto(sink: BodySink, reached?: (position: number) => void): Promise<void>;
  /** Closes the connection: the bytes are not wanted. */
  leave(): void;
}

export class UpstreamBlob {
  readonly #registryCall: RegistryCall;
  readonly #transport: Pick<BlobTransport, 'via'>;
  readonly #context: AttemptsContext;
  readonly #request: BlobRequest;
  /** Aborted with the request's signal, or if the reader leaves. */
  readonly #signal: AbortSignal;
  readonly #leaving = new AbortController();
  readonly #attempts: Attempts;
  #caller: Caller;
  #position: number;
  #end: number;
  #size: number | undefined;
  /** The registry sends it gzipped: it is asked for as a whole, and unpacked. */
  #unpack = false;

  constructor(
    registryCall: RegistryCall,
    transport: Pick<BlobTransport, 'via'>,
    context: AttemptsContext,
    request: BlobRequest,
  ) {
    this.#registryCall = registryCall;
    this.#transport = transport;
    this.#context = context;
    this.#request = request;
    const { signal } = this.#leaving;
    this.#signal = request.signal === undefined ? signal : AbortSignal.any([request.signal, signal]);
    this.#attempts = new Attempts(context, request.repository.registry, request.retries, this.#signal);
    this.#caller = request.caller;
    this.#position = request.start;
    this.#end = request.end ?? Number.POSITIVE_INFINITY;
  }

  /** Resolves with the blob's size when the first good response has begun. @throws WeirError */
  async open(): Promise<BlobStream> {
    const first = await this.#next();
    if (this.#size === undefined) throw new WeirError('internal', 'a part without the size of its blob');
    const readInto = (sink: BodySink, reached?: (position: number) => void): Promise<void> =>
      this.#readInto(first, sink, reached);
    const leave = (): void => this.#leaving.abort(new WeirError('aborted', 'the reader left'));
    const isPart = this.#request.start > 0 || (this.#request.end ?? this.#size) < this.#size;
    return {
      size: this.#size,
      isWholeForPart: isPart && first?.response.status === 200,
      readInto,
      leave,
    };
  }

  async #readInto(
    first: Part | undefined,
    sink: BodySink,
    reached?: (position: number) => void,
  ): Promise<void> {
    const progressed = (position: number): void => {
      this.#progressed(position);
      reached?.(position);
    };
    for (
      let part = first;
      part !== undefined;
      part = this.#position < this.#end ? await this.#next() : undefined
    ) {
      const { response, from, to } = part;
      try {
        await response.read({ from, to, start: this.#position, end: this.#end }, sink, progressed);
      } catch (error) {
        if (this.#position < this.#end) await this.#attempts.failed(toWeirError(error));
      }
    }
  }

  #progressed(position: number): void {
    if (position <= this.#position) return;
    this.#context.observer?.bytes(this.#request.repository.registry, position - this.#position);
    this.#position = position;
    this.#attempts.progressed();
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
    const { repository, digest, worker } = this.#request;
    const transport = this.#transport.via(worker?.());
    const isWhole = this.#unpack || (this.#position === 0 && this.#request.end === undefined);
    const last = this.#request.end === undefined ? '' : this.#end - 1;
    const request = {
      endpoint,
      kind: 'blob',
      method: 'GET',
      target: requestTarget(endpoint, repository.name, `blobs/${digest}`),
      name: repository.name,
      headers: { accept: '*/*' },
      headerTimeout: this.#attempts.headerTimeout,
      caller: this.#caller,
      signal: this.#signal,
      unpack: this.#unpack,
    } as const;
    const headers = { ...request.headers, range: `bytes=${this.#position}-${last}` };
    let followed = await this.#registryCall.run(isWhole ? request : { ...request, headers }, transport);
    if (!isWhole && this.#refusesRange(followed)) {
      followed.response.discard();
      followed = await this.#registryCall.run(request, transport);
    }
    const expected = isWhole ? [200] : [200, 206, 416];
    const response = expectStatus(followed, expected, 'blob_unknown', this.#context.clock);
    try {
      if (!this.#unpack && response.status === 200 && isGzipped(response, this.#size ?? this.#request.size)) {
        this.#unpack = true;
        response.discard();
        return await this.#ask(endpoint);
      }
      return this.#accept(response);
    } catch (error) {
      response.discard();
      throw error;
    }
  }

  /** Whether it may be the Range that is refused, or mistaken: then the whole blob is asked for. */
  #refusesRange({ response, isElsewhere }: Followed<BlobResponse>): boolean {
    if (response.status === 416) return unsatisfiedTotal(response) !== this.#position;
    if (response.status === 206) return this.#partOf(response) === undefined;
    if (isElsewhere && response.status === 403) return false; // storage: the signed URL has expired
    return RANGE_REFUSED.has(response.status);
  }

  #accept(response: BlobResponse): Part | undefined {
    const known = this.#size ?? this.#request.size;
    if (response.status === 416) return this.#atEnd(response);
    if (response.status === 200) {
      // Without a length (chunked, or until the connection ends) the manifest's size counts, and the digest decides.
      const total = contentLength(response) ?? known;
      if (total === undefined) throw protocolError(response, 'a blob without Content-Length');
      this.#fixSize(response, total);
      return { response, from: 0, to: total };
    }
    const part = this.#partOf(response);
    if (part === undefined) throw protocolError(response, 'another range than asked for');
    this.#fixSize(response, part.total);
    return { response, from: part.start, to: part.end };
  }

  /** What a 206 holds; undefined if that is not what was asked for. */
  #partOf(response: BlobResponse): ContentRange | undefined {
    const range = contentRange(response);
    if (range === undefined) return undefined;
    const { start, end } = range;
    const length = contentLength(response) ?? end - start;
    return start === this.#position && end <= this.#end && length === end - start ? range : undefined;
  }

  /** A 416 is correct for a range that begins at the blob's end: nothing is missing. */
  #atEnd(response: BlobResponse): undefined {
    const total = unsatisfiedTotal(response);
    if (total !== this.#position) throw protocolError(response, 'status 416 to a range within the blob');
    response.discard();
    this.#fixSize(response, total);
    return undefined;
  }

  #fixSize(response: BlobResponse, size: number): void {
    if (this.#size !== undefined && this.#size !== size) {
      throw protocolError(response, `another size of the blob (${size}, not ${this.#size} bytes)`);
    }
    if (this.#position > size) throw protocolError(response, 'a blob that ends before the byte asked for');
    this.#size = size;
    this.#end = Math.min(this.#end, size);
  }
}
