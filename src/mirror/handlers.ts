/** What the mirror does for each route. Whatever these throw before the header is sent becomes an error answer. */
import { isWeirError, toWeirError, WeirError } from '../util/errors.ts';
import { parseRangeHeader } from '../oci/range.ts';
import { formatManifestReference } from '../oci/reference.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import type { BlobRequest, Blobs } from '../pull/blobs.ts';
import type { Manifests } from '../pull/manifests.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { isNotModified, listType, mirrorLink, sendJson, sendNotModified, setDigest } from './responses.ts';
import type { BufferPool } from '../util/buffer-pool.ts';
import { sendBytes, openBody as open, type Body } from '../http/body.ts';
import type { DocumentRoom } from '../upstream/document-room.ts';
import type { Exchange } from './mirror-request.ts';
import type { Route } from './route.ts';
import type { Reading } from '../pull/blob-reader.ts';

/** A Range that does not start at the first byte: a client goes on where it was cut off. */
const RESUMES = /^bytes=0*[1-9]/i;

/** A browser that is led to a blob saves it; runtimes do not look at the second one. */
const BLOB_HEADERS = {
  'Content-Type': 'application/octet-stream',
  'Content-Disposition': 'attachment',
} as const;

export interface HandlersOptions {
  readonly blobs: Pick<Blobs, 'open' | 'head' | 'handOver' | 'isArriving' | 'isShared' | 'hasCompany'>;
  readonly manifests: Pick<Manifests, 'get' | 'head'>;
  readonly upstream: Pick<Upstream, 'passThrough'>;
  readonly pool: BufferPool;
  /** Where manifests and lists are counted until their client has them. */
  readonly documents: DocumentRoom;
  /** Milliseconds in which a client must take a buffer. */
  readonly clientTimeout: number;
  /** A response was cut short of its Content-Length. */
  readonly onCut: (exchange: Exchange, route: Route, error: WeirError) => void;
}

interface Document {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number>>;
  /** Undefined for HEAD. */
  readonly bytes: Uint8Array | undefined;
}

type BlobRoute = Route & { kind: 'blob' };

export class Handlers {
  readonly #options: HandlersOptions;

  constructor(options: HandlersOptions) {
    this.#options = options;
  }

  /** @param signal aborted when the client is gone, or when its first byte is overdue */
  async handle(exchange: Exchange, route: Route, signal: AbortSignal): Promise<void> {
    switch (route.kind) {
      case 'ping':
        return sendJson(exchange, '{}');
      case 'manifest':
        return this.#manifest(exchange, route, signal);
      case 'blob':
        return exchange.isHead
          ? this.#headBlob(exchange, route, signal)
          : this.#blob(exchange, route, signal);
      case 'tags':
      case 'referrers':
        return this.#passThrough(exchange, route, signal);
    }
  }

  async #manifest(
    exchange: Exchange,
    route: Route & { kind: 'manifest' },
    signal: AbortSignal,
  ): Promise<void> {
    const { request, response, isHead } = exchange;
    const { manifests } = this.#options;
    const { repository, reference } = route;
    const caller = exchange.callerOf(repository.registry);
    const wanted = { repository, reference, caller, accept: request.headers.accept, signal };
    const found = await (isHead ? manifests.head(wanted) : manifests.get(wanted));
    exchange.from(found.source);
    setDigest(exchange, found.digest);
    if (found.stale) {
      // RFC 9111 has retired the Warning header; this one says the same.
      response.setHeader('Weir-Stale', `tag ${formatManifestReference(reference)} as last seen`);
    }
    if (isNotModified(exchange, found.digest)) return sendNotModified(exchange);
    const headers = {
      'Content-Type': found.mediaType,
      ...(found.size === undefined ? {} : { 'Content-Length': found.size }),
    };
    await this.#sendDocument(exchange, route, { status: 200, headers, bytes: found.bytes });
  }

  /** A body that is held whole, for as long as its client takes it. @throws WeirError `too_many_requests` */
  async #sendDocument(exchange: Exchange, route: Route, document: Document): Promise<void> {
    const { response, isHead, gone } = exchange;
    const { status, headers, bytes = Buffer.of() } = document;
    using held = this.#options.documents.hold();
    held.grow(bytes.length);
    response.writeHead(status, headers);
    if (isHead) {
      response.end();
      return;
    }
    exchange.sent(bytes.length);
    try {
      await sendBytes(response, bytes, this.#options.clientTimeout, gone);
    } catch (error) {
      exchange.closeShort();
      this.#options.onCut(exchange, route, toWeirError(error));
    }
  }

  #blobRequest(
    exchange: Exchange,
    { repository, digest, byPath }: BlobRoute,
    signal: AbortSignal,
  ): BlobRequest {
    const resuming = RESUMES.test(exchange.request.headers.range ?? '');
    const caller = exchange.callerOf(repository.registry);
    return { repository, digest, caller, signal, resuming, dependent: byPath };
  }

  async #headBlob(exchange: Exchange, route: BlobRoute, signal: AbortSignal): Promise<void> {
    const { size, source } = await this.#options.blobs.head(this.#blobRequest(exchange, route, signal));
    exchange.from(source);
    setDigest(exchange, route.digest);
    if (isNotModified(exchange, route.digest)) return sendNotModified(exchange);
    exchange.response.writeHead(200, {
      ...BLOB_HEADERS,
      'Content-Length': size,
      'Accept-Ranges': 'bytes',
    });
    exchange.response.end();
  }

  async #blob(exchange: Exchange, route: BlobRoute, signal: AbortSignal): Promise<void> {
    await using reading = await this.#options.blobs.open(this.#blobRequest(exchange, route, signal));
    exchange.from(reading.source);
    setDigest(exchange, route.digest);
    exchange.response.setHeader('Accept-Ranges', 'bytes');
    if (isNotModified(exchange, route.digest)) return sendNotModified(exchange);
    const range = parseRangeHeader(exchange.request.headers.range, reading.size);
    if (range.kind === 'unsatisfiable') {
      exchange.response.setHeader('Content-Range', `bytes */${reading.size}`);
      const message = `the blob has ${reading.size} bytes`;
      throw new WeirError('range_unsatisfiable', message, { detail: { size: reading.size } });
    }
    const { start, end } = range.kind === 'part' ? range.range : { start: 0, end: reading.size };
    const { pool, clientTimeout } = this.#options;
    const body = await openBody(exchange, reading, { start, end, pool, clientTimeout }, signal);
    try {
      exchange.response.writeHead(range.kind === 'part' ? 206 : 200, {
        ...BLOB_HEADERS,
        'Content-Length': end - start,
        ...(range.kind === 'part' ? { 'Content-Range': `bytes ${start}-${end - 1}/${reading.size}` } : {}),
      });
      await body.send();
      exchange.response.end();
    } catch (error) {
      this.#cut(exchange, route, toWeirError(error));
    } finally {
      body.release();
    }
  }

  /** Ends a response that cannot be completed in the way that runtimes recover from. */
  #cut(exchange: Exchange, route: BlobRoute, error: WeirError): void {
    if (!isWeirError(error, 'aborted')) this.#options.blobs.handOver(blobOf(route));
    exchange.closeShort();
    this.#options.onCut(exchange, route, error);
  }

  async #passThrough(
    exchange: Exchange,
    route: Route & { kind: 'tags' | 'referrers' },
    signal: AbortSignal,
  ): Promise<void> {
    const { repository, path, query } = route;
    const caller = exchange.callerOf(repository.registry);
    const answer = await this.#options.upstream.passThrough(repository, path, query, { caller, signal });
    const type = listType(route, answer);
    exchange.from('upstream');
    const link = answer.link === undefined ? undefined : mirrorLink(answer.link, route);
    const headers = {
      ...answer.headers,
      ...(link === undefined ? {} : { Link: link }),
      'Content-Type': type,
      'Content-Length': answer.body.length,
    };
    await this.#sendDocument(exchange, route, { status: answer.status, headers, bytes: answer.body });
  }
}

/** The blob that a request is for, as its registry has it. */
export function blobOf({ repository, digest }: BlobRoute): RegistryBlob {
  return { registry: repository.registry, digest };
}

export interface BodyOptions {
  readonly start: number;
  /** First byte that is not sent. */
  readonly end: number;
  /** Milliseconds in which the client must take a buffer. */
  readonly clientTimeout: number;
  readonly pool: BufferPool;
}

export function openBody(
  exchange: Exchange,
  reading: Reading,
  options: BodyOptions,
  signal: AbortSignal,
): Promise<Body> {
  return open(
    exchange.response,
    {
      ...options,
      read: (target, position, until) => reading.read(target, position, { signal: until }),
      gone: exchange.gone,
      onSent: (bytes) => exchange.sent(bytes),
    },
    signal,
  );
}
