/** What the mirror does for each route. An error that is thrown before the header is sent becomes an error answer. */
import { isWeirError, toWeirError, WeirError } from '../util/errors.ts';
import type { WaitCause } from '../util/waits.ts';
import { parseRangeHeader } from '../oci/range.ts';
import { formatManifestReference } from '../oci/reference.ts';
import type { Digest } from '../oci/digest.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import type { ByteSource } from '../pull/blob-reader.ts';
import type { Blobs } from '../pull/blobs.ts';
import type { BlobRequest } from '../pull/blobs-options.ts';
import type { Manifests } from '../pull/manifests.ts';
import type { Referrers } from '../pull/referrers.ts';
import type { PassedThrough } from '../upstream/passed-through.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { isNotModified, listType, mirrorLink, sendJson, sendNotModified, setDigest } from './responses.ts';
import type { DocumentRoom } from '../upstream/document-room.ts';
import type { MirrorRequest } from './mirror-request.ts';
import type { Route } from './route.ts';

const BEHIND_FIRST = /^bytes=0*[1-9]/i;

/** A browser that is led to a blob saves it instead of showing it; runtimes ignore the second header. */
const BLOB_HEADERS = {
  'Content-Type': 'application/octet-stream',
  'Content-Disposition': 'attachment',
} as const;

/** What a reader waits for before its first byte. */
const FIRST_BYTE_CAUSES: Readonly<Record<ByteSource, WaitCause>> = {
  store: 'disk',
  runtime: 'disk',
  upstream: 'registry',
  swarm: 'peers',
  peer: 'peers',
};

export interface HandlersOptions {
  /** Opens a blob that a runtime asks for. */
  readonly openBlob: Blobs['open'];
  readonly blobs: Pick<Blobs, 'head' | 'handOver' | 'isArriving' | 'isShared' | 'hasPeers'>;
  readonly manifests: Pick<Manifests, 'get' | 'head'>;
  readonly referrers: Pick<Referrers, 'get'>;
  readonly upstream: Pick<Upstream, 'passThrough'>;
  /** Memory for manifests and lists: they count until their client has them. */
  readonly documents: DocumentRoom;
  /** Called after a response was cut short of its Content-Length. */
  readonly onCut: (mirrorRequest: MirrorRequest, route: Route, error: WeirError) => void;
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

  /** @param signal is aborted when the client is gone, or when the first byte is overdue */
  async handle(mirrorRequest: MirrorRequest, route: Route, signal: AbortSignal): Promise<void> {
    switch (route.kind) {
      case 'ping':
        return sendJson(mirrorRequest, '{}');
      case 'manifest':
        return this.#manifest(mirrorRequest, route, signal);
      case 'blob':
        return mirrorRequest.isHead
          ? this.#headBlob(mirrorRequest, route, signal)
          : this.#blob(mirrorRequest, route, signal);
      case 'tags':
        return this.#tags(mirrorRequest, route, signal);
      case 'referrers':
        return this.#referrers(mirrorRequest, route, signal);
    }
  }

  async #manifest(
    mirrorRequest: MirrorRequest,
    route: Route & { kind: 'manifest' },
    signal: AbortSignal,
  ): Promise<void> {
    const { request, response, isHead } = mirrorRequest;
    const { manifests } = this.#options;
    const { repository, reference } = route;
    const caller = mirrorRequest.callerOf(repository.registry);
    const wanted = { repository, reference, caller, accept: request.headers.accept, signal };
    const found = await (isHead ? manifests.head(wanted) : manifests.get(wanted));
    mirrorRequest.from(found.source);
    mirrorRequest.served = { kind: 'manifest', digest: found.digest, bytes: found.bytes };
    setDigest(mirrorRequest, found.digest);
    if (found.stale) {
      // Instead of the Warning header, which RFC 9111 has retired.
      response.setHeader('Weir-Stale', `tag ${formatManifestReference(reference)} as last seen`);
    }
    if (isNotModified(mirrorRequest, found.digest)) return sendNotModified(mirrorRequest);
    const headers = {
      'Content-Type': found.mediaType,
      ...(found.size === undefined ? {} : { 'Content-Length': found.size }),
    };
    await this.#sendDocument(mirrorRequest, route, { status: 200, headers, bytes: found.bytes });
  }

  /** Sends a body that is held whole in memory until its client has it. @throws WeirError `too_many_requests` */
  async #sendDocument(mirrorRequest: MirrorRequest, route: Route, document: Document): Promise<void> {
    const { response, isHead } = mirrorRequest;
    const { status, headers, bytes = Buffer.of() } = document;
    using held = this.#options.documents.hold();
    held.grow(bytes.length);
    response.writeHead(status, headers);
    if (isHead) {
      response.end();
      return;
    }
    try {
      await response.write(bytes);
      response.end();
    } catch (error) {
      response.closeShort();
      this.#options.onCut(mirrorRequest, route, toWeirError(error));
    }
  }

  #blobRequest(
    mirrorRequest: MirrorRequest,
    { repository, digest, byPath }: BlobRoute,
    signal: AbortSignal,
  ): BlobRequest {
    const resuming = isBehindFirst(rangeOf(mirrorRequest, digest));
    const caller = mirrorRequest.callerOf(repository.registry);
    const { worker } = mirrorRequest.response;
    const { waits } = mirrorRequest;
    return { repository, digest, caller, signal, worker, resuming, dependent: byPath, waits };
  }

  async #headBlob(mirrorRequest: MirrorRequest, route: BlobRoute, signal: AbortSignal): Promise<void> {
    const { size, source } = await this.#options.blobs.head(this.#blobRequest(mirrorRequest, route, signal));
    mirrorRequest.from(source);
    setDigest(mirrorRequest, route.digest);
    if (isNotModified(mirrorRequest, route.digest)) return sendNotModified(mirrorRequest);
    mirrorRequest.response.writeHead(200, {
      ...BLOB_HEADERS,
      'Content-Length': size,
      'Accept-Ranges': 'bytes',
    });
    mirrorRequest.response.end();
  }

  async #blob(mirrorRequest: MirrorRequest, route: BlobRoute, signal: AbortSignal): Promise<void> {
    await using reader = await this.#options.openBlob(this.#blobRequest(mirrorRequest, route, signal));
    mirrorRequest.from(reader.source);
    setDigest(mirrorRequest, route.digest);
    mirrorRequest.response.setHeader('Accept-Ranges', 'bytes');
    if (isNotModified(mirrorRequest, route.digest)) return sendNotModified(mirrorRequest);
    const range = parseRangeHeader(rangeOf(mirrorRequest, route.digest), reader.size);
    if (range.kind === 'unsatisfiable') {
      mirrorRequest.response.setHeader('Content-Range', `bytes */${reader.size}`);
      const message = `the blob has ${reader.size} bytes`;
      throw new WeirError('range_unsatisfiable', message, { detail: { size: reader.size } });
    }
    const { start, end } = range.kind === 'part' ? range.range : { start: 0, end: reader.size };
    const { response } = mirrorRequest;
    await mirrorRequest.waits.during(FIRST_BYTE_CAUSES[reader.source], reader.ready(start, signal));
    using _told = mirrorRequest.sending(reader);
    response.writeHead(range.kind === 'part' ? 206 : 200, {
      ...BLOB_HEADERS,
      'Content-Length': end - start,
      ...(range.kind === 'part' ? { 'Content-Range': `bytes ${start}-${end - 1}/${reader.size}` } : {}),
    });
    try {
      await reader.sendTo(response, start, end);
      response.end();
    } catch (error) {
      if (!response.headersSent) throw error; // not even the first byte could be read
      this.#cut(mirrorRequest, route, toWeirError(error));
    }
  }

  /** Ends a response that cannot be completed. A clean end short of its length is one that runtimes recover from. */
  #cut(mirrorRequest: MirrorRequest, route: BlobRoute, error: WeirError): void {
    // A byte worker that ended says nothing of the blob.
    if (!isWeirError(error, 'aborted', 'worker_lost')) this.#options.blobs.handOver(blobOf(route));
    mirrorRequest.response.closeShort();
    this.#options.onCut(mirrorRequest, route, error);
  }

  async #tags(
    mirrorRequest: MirrorRequest,
    route: Route & { kind: 'tags' },
    signal: AbortSignal,
  ): Promise<void> {
    const { repository, path, query } = route;
    const caller = mirrorRequest.callerOf(repository.registry);
    const answer = await this.#options.upstream.passThrough(repository, path, query, { caller, signal });
    await this.#sendList(mirrorRequest, route, answer, 'upstream');
  }

  async #referrers(
    mirrorRequest: MirrorRequest,
    route: Route & { kind: 'referrers' },
    signal: AbortSignal,
  ): Promise<void> {
    const { repository, subject, query } = route;
    const caller = mirrorRequest.callerOf(repository.registry);
    const answer = await this.#options.referrers.get({ repository, subject, query, caller, signal });
    if (answer.stale) mirrorRequest.response.setHeader('Weir-Stale', `referrers of ${subject} as last seen`);
    await this.#sendList(mirrorRequest, route, answer, answer.stale ? 'store' : 'upstream');
  }

  async #sendList(
    mirrorRequest: MirrorRequest,
    route: Route & { kind: 'tags' | 'referrers' },
    answer: PassedThrough,
    source: ByteSource,
  ): Promise<void> {
    const type = listType(route, answer);
    mirrorRequest.from(source);
    const link = answer.link === undefined ? undefined : mirrorLink(answer.link, route);
    const headers = {
      ...answer.headers,
      ...(link === undefined ? {} : { Link: link }),
      'Content-Type': type,
      'Content-Length': answer.body.length,
    };
    await this.#sendDocument(mirrorRequest, route, { status: answer.status, headers, bytes: answer.body });
  }
}

/** The Range, unless it is to hold for another representation only (If-Range, RFC 9110 13.1.5). */
export function rangeOf({ request }: MirrorRequest, digest: Digest): string | undefined {
  const validator = request.headers['if-range'];
  return validator === undefined || validator === `"${digest}"` ? request.headers.range : undefined;
}

/** Whether this Range starts behind the first byte: the client goes on where it was cut off, or has asked for what is before. */
export function isBehindFirst(range: string | undefined): boolean {
  return BEHIND_FIRST.test(range ?? '');
}

/** The blob of a request and its registry. */
export function blobOf({ repository, digest }: BlobRoute): RegistryBlob {
  return { registry: repository.registry, digest };
}
