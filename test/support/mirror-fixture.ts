/**
 * A mirror in this process, made of the real parts, in front of a small registry whose faults a test writes itself.
 * The daemon's wiring is not used: tests set times of milliseconds and look inside.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { MIB, systemClock, type Clock } from '../../src/util/clock.ts';
import { WeirError } from '../../src/util/errors.ts';
import { DocumentRoom } from '../../src/upstream/document-room.ts';
import { Mirror, type MirrorOptions, type RequestReport } from '../../src/mirror/mirror.ts';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { parseRangeHeader } from '../../src/oci/range.ts';
import { DOCKER_HUB, type RegistryHost, type Repository } from '../../src/oci/repository.ts';
import { Access } from '../../src/pull/access.ts';
import type { AccessMode } from '../../src/pull/access-options.ts';
import { Blobs } from '../../src/pull/blobs.ts';
import type { BlobsOptions } from '../../src/pull/blobs-options.ts';
import { Prefetch } from '../../src/pull/prefetch.ts';
import { Manifests } from '../../src/pull/manifests.ts';
import { Referrers } from '../../src/pull/referrers.ts';
import { Catalog } from '../../src/store/catalog.ts';
import { DataFolder } from '../../src/store/data-folder.ts';
import { FsStore } from '../../src/store/fs-store.ts';
import type { BlobProvider, Store } from '../../src/store/store.ts';
import { Upstream } from '../../src/upstream/upstream.ts';
import { HttpServer, type Handler } from './http-server.ts';
import { httpInside, workersInside } from './byte-workers.ts';
import { Files } from '../../src/bytes/files.ts';
import { UpstreamClient } from '../../src/bytes/upstream-client.ts';
import { TempDir } from './temp.ts';

export interface TestRepository {
  readonly blobs: Map<Digest, Buffer>;
  readonly tags: Map<string, Digest>;
  /** The Authorization header that may read it; undefined: public. */
  authorization?: string;
}

/** A registry with one fault hook in front of everything. */
export class TestRegistry implements AsyncDisposable {
  readonly server: HttpServer;
  readonly repositories: Map<string, TestRepository> = new Map();
  /** Answers instead of the registry if it returns true. */
  intercept: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;
  challenge = 'Basic realm="test"';

  private constructor(server: HttpServer) {
    this.server = server;
  }

  static async start(): Promise<TestRegistry> {
    const registry = new TestRegistry(await HttpServer.start((_request, response) => void response.end()));
    registry.server.handler = registry.#handle;
    return registry;
  }

  get host(): string {
    return this.server.host;
  }

  repository(name: string): TestRepository {
    const made = this.repositories.get(name) ?? { blobs: new Map(), tags: new Map() };
    this.repositories.set(name, made);
    return made;
  }

  addBlob(name: string, bytes: Buffer): Digest {
    const digest = digestOf(bytes);
    this.repository(name).blobs.set(digest, bytes);
    return digest;
  }

  /** Adds an image of one layer, under a tag. */
  addImage(name: string, tag: string, layer: Buffer): { manifest: Digest; layer: Digest; bytes: Buffer } {
    const { manifest, layers, bytes } = this.addLayers(name, tag, [layer]);
    return { manifest, layer: layers[0] as Digest, bytes };
  }

  /** Adds an image of several layers, under a tag. */
  addLayers(
    name: string,
    tag: string,
    contents: readonly Buffer[],
  ): { manifest: Digest; layers: readonly Digest[]; bytes: Buffer } {
    const config = this.addBlob(name, Buffer.from('{}'));
    const layers = contents.map((content) => this.addBlob(name, content));
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.ociManifest,
        config: { mediaType: MEDIA_TYPES.ociConfig, digest: config, size: 2 },
        layers: layers.map((digest, at) => ({
          mediaType: MEDIA_TYPES.ociLayerGzip,
          digest,
          size: contents[at]?.length ?? 0,
        })),
      }),
    );
    const manifest = this.addBlob(name, bytes);
    this.repository(name).tags.set(tag, manifest);
    return { manifest, layers, bytes };
  }

  /** Requests whose target matches. */
  count(target: RegExp): number {
    return this.server.requests.filter(({ url }) => target.test(url)).length;
  }

  readonly #handle: Handler = (request, response) => {
    if (this.intercept(request, response)) return;
    const [path = ''] = (request.url ?? '').split('?');
    const match = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/.exec(path);
    const [, name = '', kind, reference = ''] = match ?? [];
    const repository = this.repositories.get(name);
    if (
      repository?.authorization !== undefined &&
      request.headers.authorization !== repository.authorization
    ) {
      response.writeHead(401, { 'WWW-Authenticate': this.challenge }).end();
      return;
    }
    if (kind === 'tags') {
      response.writeHead(200, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify({ name, tags: [...(repository?.tags.keys() ?? [])] }));
      return;
    }
    const digest = repository?.tags.get(reference) ?? (reference as Digest);
    const bytes = repository?.blobs.get(digest);
    if (bytes === undefined) {
      response.writeHead(404).end();
      return;
    }
    const mediaType = kind === 'manifests' ? MEDIA_TYPES.ociManifest : 'application/octet-stream';
    sendBytes(request, response, bytes, { 'Content-Type': mediaType, 'Docker-Content-Digest': digest });
  };

  [Symbol.asyncDispose](): Promise<void> {
    return this.server[Symbol.asyncDispose]();
  }
}

/** Answers with `bytes` or the range that was asked for. */
export function sendBytes(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Buffer,
  headers: Record<string, string> = {},
): void {
  const wanted = parseRangeHeader(request.headers.range, bytes.length);
  const { start, end } = wanted.kind === 'part' ? wanted.range : { start: 0, end: bytes.length };
  response.writeHead(wanted.kind === 'part' ? 206 : 200, {
    ...headers,
    'Content-Length': end - start,
    ...(wanted.kind === 'part' ? { 'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}` } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : bytes.subarray(start, end));
}

/** An upstream that reaches only these registries: no other one answers. */
function upstreamFor(permit: (registry: RegistryHost) => boolean): typeof Upstream {
  const check = ({ registry }: Repository): void => {
    if (!permit(registry)) throw new WeirError('upstream_unreachable', `${registry} is not for this test`);
  };
  type Call<Name extends keyof Upstream> = Parameters<Upstream[Name]>;
  return class extends Upstream {
    override async headManifest(...call: Call<'headManifest'>) {
      check(call[0]);
      return super.headManifest(...call);
    }

    override async getManifest(...call: Call<'getManifest'>) {
      check(call[0]);
      return super.getManifest(...call);
    }

    override async headBlob(...call: Call<'headBlob'>) {
      check(call[0]);
      return super.headBlob(...call);
    }

    override async openBlob(...call: Call<'openBlob'>) {
      check(call[0]);
      return super.openBlob(...call);
    }

    override async passThrough(...call: Call<'passThrough'>) {
      check(call[0]);
      return super.passThrough(...call);
    }
  };
}

export interface MirrorFixtureOptions {
  /** Data folder of an earlier fixture, for a restart; default: a new one that ends with this fixture. */
  readonly folder?: string;
  readonly mode?: AccessMode;
  readonly accessTtl?: number;
  readonly offlineTtl?: number;
  readonly tagTtl?: number;
  readonly quota?: number;
  readonly linger?: number;
  readonly stallTimeout?: number;
  readonly retries?: number;
  readonly headerTimeout?: number;
  readonly upstreamStallTimeout?: number;
  readonly maxConcurrent?: number;
  readonly share?: BlobsOptions['share'];
  /** Whether the runtime's content can be seen, so that layers are prefetched; default: no. */
  readonly seesRuntime?: boolean;
  /** Bytes of prefetched layers that nobody has asked for, at most. */
  readonly maxUnused?: number;
  /** Quota of the blobs alone. */
  readonly clock?: Clock;
  /** Of the registry client alone. */
  readonly upstreamClock?: Clock;
  readonly wrapStore?: (store: Store) => Store;
  /** The registries that may be asked, if callers name some that the test does not choose; default: all. */
  readonly permit?: (registry: RegistryHost) => boolean;
  readonly mirror?: Partial<MirrorOptions>;
}

export class MirrorFixture implements AsyncDisposable {
  readonly registry: TestRegistry;
  readonly mirror: Mirror;
  readonly store: FsStore;
  readonly blobs: Blobs;
  readonly manifests: Manifests;
  readonly catalog: Catalog;
  readonly reports: readonly RequestReport[];
  readonly pulls: ReadonlyMap<Digest, WeirError | undefined>;
  /** What became of prefetched layers. */
  readonly prefetched: { readonly bytes: number; readonly outcome: 'used' | 'vain' }[];
  /** The data folder. */
  readonly folder: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Omit<MirrorFixture, 'url' | 'get' | typeof Symbol.asyncDispose>,
    stack: AsyncDisposableStack,
  ) {
    this.registry = parts.registry;
    this.mirror = parts.mirror;
    this.store = parts.store;
    this.blobs = parts.blobs;
    this.manifests = parts.manifests;
    this.catalog = parts.catalog;
    this.reports = parts.reports;
    this.pulls = parts.pulls;
    this.prefetched = parts.prefetched;
    this.folder = parts.folder;
    this.#stack = stack;
  }

  static async start(options: MirrorFixtureOptions = {}): Promise<MirrorFixture> {
    await using stack = new AsyncDisposableStack();
    const registry = stack.use(await TestRegistry.start());
    const folder = new DataFolder(options.folder ?? stack.use(await TempDir.create('mirror')).join('data'));
    await folder.create();
    const catalog = stack.use(Catalog.open(folder.catalog));
    const clock = systemClock;
    const quota = options.quota ?? 512 * MIB;
    const workers = stack.use(workersInside());
    const files = new Files(workers);
    const store = stack.use(await FsStore.open({ folder, quota, partialMaxAge: 1e9, clock, files }));
    const wrapped = options.wrapStore?.(store) ?? store;
    const providers: readonly BlobProvider[] = [wrapped];
    const { permit } = options;
    const upstream = new (permit === undefined ? Upstream : upstreamFor(permit))({
      blobs: new UpstreamClient(workers),
      userAgent: 'weir/test',
      via: 'this-node',
      environment: {},
      retries: options.retries ?? 2,
      connectTimeout: 500,
      headerTimeout: options.headerTimeout ?? 400,
      stallTimeout: options.upstreamStallTimeout ?? 200,
      clock: options.upstreamClock ?? clock,
    });
    stack.defer(() => upstream.close());
    const { mode = 'verify', accessTtl: ttl = 600_000, offlineTtl = 86_400_000 } = options;
    const access = new Access({ mode, ttl, offlineTtl, catalog, upstream, clock });
    const pulls = new Map<Digest, WeirError | undefined>();
    const reports: RequestReport[] = [];
    const quiet = { cacheHit: () => undefined, cacheMiss: () => undefined, problem: () => undefined };
    const blobs = stack.use(
      new Blobs({
        providers,
        store: wrapped,
        upstream,
        access,
        clock: options.clock ?? clock,
        ...(options.share && { share: options.share }),
        linger: options.linger ?? 50,
        stallTimeout: options.stallTimeout ?? 1000,
        maxConcurrent: options.maxConcurrent ?? 64,
        observer: { ...quiet, pulled: (digest, failure) => void pulls.set(digest, failure) },
      }),
    );
    const tagTtl = options.tagTtl ?? 0;
    const prefetched: MirrorFixture['prefetched'] = [];
    const prefetch = stack.use(
      new Prefetch({
        blobs,
        clock: options.clock ?? clock,
        linger: options.linger ?? 50,
        canSee: () => options.seesRuntime === true,
        maxUnused: () => options.maxUnused ?? Infinity,
        observer: { ...quiet, prefetched: (bytes, outcome) => void prefetched.push({ bytes, outcome }) },
      }),
    );
    const observer = {
      ...quiet,
      staleTag: () => undefined,
      handedOut: (...seen: Parameters<Prefetch['listed']>) => prefetch.listed(...seen),
    };
    const manifests = new Manifests({
      providers,
      store: wrapped,
      catalog,
      upstream,
      access,
      clock,
      tagTtl,
      observer,
    });
    const referrers = new Referrers({
      upstream,
      access,
      clock: options.clock ?? clock,
      offlineTtl,
      onStale: () => undefined,
    });
    const mirror = stack.use(
      await Mirror.start({
        listen: [{ host: '127.0.0.1', port: 0 }],
        hosts: [],
        defaultRegistry: DOCKER_HUB,
        maxRequests: 512,
        firstByteTimeout: 2_000,
        patientTimeout: 4_000,
        clientTimeout: 5_000,
        via: 'this-node',
        clock,
        blobs,
        openBlob: (request) => prefetch.open(request),
        manifests,
        referrers,
        upstream,
        http: httpInside(),
        documents: new DocumentRoom(),
        observer: { began: () => undefined, ended: (report) => void reports.push(report) },
        onWarning: () => undefined,
        ...options.mirror,
      }),
    );
    return new MirrorFixture(
      { registry, mirror, store, blobs, manifests, catalog, reports, pulls, prefetched, folder: folder.root },
      stack.move(),
    );
  }

  get url(): string {
    return this.mirror.addresses[0] ?? '';
  }

  /** A request as containerd sends it: `path` behind `/v2/`, the registry in `ns`. */
  get(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`${this.url}/v2/${path}?ns=${this.registry.host}`, init);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack[Symbol.asyncDispose]();
  }
}
