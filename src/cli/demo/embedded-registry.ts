/**
 * An embedded registry: the pull side of the OCI distribution spec and tags/list, over images that
 * {@link generateImage} made on disk. It counts requests and sent bytes, so that the demo, tests and benchmarks know
 * what came from upstream. It is for loopback and has no authentication.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { KIB } from '../../util/clock.ts';
import { tryParseDigest, type Digest } from '../../oci/digest.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import { parseRangeHeader } from '../../oci/range.ts';
import { parseRegistryHost, type RegistryHost } from '../../oci/repository.ts';
import { readBlob, type GeneratedImage } from './image.ts';
import { Shaper } from './shaper.ts';

export interface RegistryOptions {
  /** Bytes per second over all connections; default: no limit. */
  readonly rate?: number;
  /** Port on 127.0.0.1; default: any. */
  readonly port?: number;
  /** Sees each request first and returns whether it has answered it. For tests that cause failures. */
  readonly intercept?: (request: IncomingMessage, response: ServerResponse) => boolean;
}

/** Requests and sent bytes since the start or the last {@link EmbeddedRegistry.resetStats}. */
export interface RegistryStats {
  requests: number;
  manifestRequests: number;
  /** GETs of blobs, configs included. */
  blobRequests: number;
  /** Bytes of blobs and manifests that were written to connections. */
  bytes: number;
  /** Of these, bytes of blobs. */
  blobBytes: number;
}

/** Bytes in which the shared bandwidth is given out: small enough for parallel layers to advance together. */
const SHAPED_BYTES = 64 * KIB;

const ROUTE = /^\/v2\/(?<name>.+)\/(?<kind>manifests|blobs)\/(?<reference>[^/]+)$/;
const TAGS = /^\/v2\/(?<name>.+)\/tags\/list$/;

const noStats = (): RegistryStats => ({
  requests: 0,
  manifestRequests: 0,
  blobRequests: 0,
  bytes: 0,
  blobBytes: 0,
});

interface HostedRepository {
  readonly tags: Map<string, Digest>;
  readonly blobs: Map<Digest, { readonly descriptor: Descriptor; readonly directory: string }>;
}

export class EmbeddedRegistry implements AsyncDisposable {
  readonly #server: Server;
  readonly #options: RegistryOptions;
  readonly #shaper: Shaper;
  readonly #repositories = new Map<string, HostedRepository>();
  #stats: RegistryStats = noStats();

  private constructor(options: RegistryOptions) {
    this.#options = options;
    this.#shaper = new Shaper(options.rate ?? Infinity);
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch((error: unknown) => {
        response.destroy(error instanceof Error ? error : undefined);
      });
    });
  }

  static async start(options: RegistryOptions = {}): Promise<EmbeddedRegistry> {
    const registry = new EmbeddedRegistry(options);
    registry.#server.listen(options.port ?? 0, '127.0.0.1');
    await once(registry.#server, 'listening');
    return registry;
  }

  /** `127.0.0.1:PORT` */
  get host(): RegistryHost {
    return parseRegistryHost(`127.0.0.1:${(this.#server.address() as AddressInfo).port}`);
  }

  get url(): URL {
    return new URL(`http://${this.host}`);
  }

  get stats(): Readonly<RegistryStats> {
    return { ...this.#stats };
  }

  resetStats(): void {
    this.#stats = noStats();
  }

  /** Serves `image` as `name`:`tag`. */
  add(name: string, tag: string, image: GeneratedImage): void {
    const repository = this.#repositories.get(name) ?? { tags: new Map(), blobs: new Map() };
    repository.tags.set(tag, image.top.digest);
    for (const [digest, descriptor] of image.blobs) {
      repository.blobs.set(digest, { descriptor, directory: image.directory });
    }
    this.#repositories.set(name, repository);
  }

  /** Cuts running responses, and ends. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#stats.requests += 1;
    if (this.#options.intercept?.(request, response) === true) return;
    const path = decodeURIComponent((request.url ?? '/').split('?', 1)[0] ?? '/');
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405, 'UNSUPPORTED');
    if (path === '/v2/' || path === '/v2') return answerJson(response, {});
    const tags = TAGS.exec(path)?.groups;
    if (tags !== undefined) return this.#listTags(response, tags['name'] ?? '');
    const { name = '', kind, reference = '' } = ROUTE.exec(path)?.groups ?? {};
    const repository = this.#repositories.get(name);
    if (repository === undefined || kind === undefined) return refuse(response, 404, 'NAME_UNKNOWN');
    if (kind === 'manifests') this.#stats.manifestRequests += 1;
    else if (request.method === 'GET') this.#stats.blobRequests += 1;
    const digest =
      tryParseDigest(reference) ?? (kind === 'manifests' ? repository.tags.get(reference) : undefined);
    const blob = digest === undefined ? undefined : repository.blobs.get(digest);
    if (blob === undefined) {
      return refuse(response, 404, kind === 'manifests' ? 'MANIFEST_UNKNOWN' : 'BLOB_UNKNOWN');
    }
    await this.#send(request, response, blob, kind === 'blobs');
  }

  #listTags(response: ServerResponse, name: string): void {
    const repository = this.#repositories.get(name);
    if (repository === undefined) refuse(response, 404, 'NAME_UNKNOWN');
    else answerJson(response, { name, tags: [...repository.tags.keys()].sort() });
  }

  async #send(
    request: IncomingMessage,
    response: ServerResponse,
    blob: { readonly descriptor: Descriptor; readonly directory: string },
    isBlob: boolean,
  ): Promise<void> {
    const { digest, size, mediaType } = blob.descriptor;
    const asked = parseRangeHeader(isBlob ? request.headers.range : undefined, size);
    if (asked.kind === 'unsatisfiable') {
      response.writeHead(416, { 'content-range': `bytes */${size}` }).end();
      return;
    }
    const { start, end } = asked.kind === 'part' ? asked.range : { start: 0, end: size };
    response.writeHead(asked.kind === 'part' ? 206 : 200, {
      'content-type': isBlob ? 'application/octet-stream' : mediaType,
      'content-length': end - start,
      'accept-ranges': 'bytes',
      'docker-content-digest': digest,
      etag: `"${digest}"`,
      ...(asked.kind === 'part' ? { 'content-range': `bytes ${start}-${end - 1}/${size}` } : {}),
    });
    if (request.method === 'GET' && end > start) {
      await this.#sendBytes(response, readBlob(blob.directory, digest, start, end), isBlob);
    }
    response.end();
  }

  async #sendBytes(response: ServerResponse, bytes: AsyncIterable<Buffer>, isBlob: boolean): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    for await (const chunk of bytes) {
      for (let at = 0; at < chunk.length; at += SHAPED_BYTES) {
        const part = chunk.subarray(at, at + SHAPED_BYTES);
        await this.#shaper.take(part.length);
        if (gone.signal.aborted) return;
        this.#stats.bytes += part.length;
        if (isBlob) this.#stats.blobBytes += part.length;
        if (!response.write(part)) await drained(response);
      }
    }
  }
}

/** Resolves when `response` takes more bytes, or is gone. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
    if (response.destroyed) done();
  });
}

function answerJson(response: ServerResponse, value: unknown): void {
  const body = JSON.stringify(value);
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

function refuse(response: ServerResponse, status: number, code: string): void {
  const body = JSON.stringify({ errors: [{ code, message: 'not here' }] });
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}
