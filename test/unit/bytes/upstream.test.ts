/** Bodies of blobs in byte workers: real threads, real files, real sockets. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { ByteWorkers } from '../../../src/bytes/byte-workers.ts';
import { Files } from '../../../src/bytes/files.ts';
import { Http } from '../../../src/bytes/http.ts';
import type { ExchangeResponse, ServerLimits } from '../../../src/http/exchange.ts';
import { UpstreamClient } from '../../../src/bytes/upstream-client.ts';
import { KIB, MIB, SECOND, systemClock } from '../../../src/util/clock.ts';
import { WeirError } from '../../../src/util/errors.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { parseRegistryHost } from '../../../src/oci/repository.ts';
import { ChunkLayout } from '../../../src/protocol/chunk-layout.ts';
import { PassThroughReader } from '../../../src/pull/pass-through-reader.ts';
import { DataFolder } from '../../../src/store/data-folder.ts';
import { FsStore } from '../../../src/store/fs-store.ts';
import type { Ingest } from '../../../src/store/store.ts';
import type { ChunkSink, FileSink, UnfinishedPlace } from '../../../src/upstream/blob-transport.ts';
import { remoteCallerOf } from '../../../src/upstream/caller.ts';
import { Upstream } from '../../../src/upstream/upstream.ts';
import type { UpstreamOptions } from '../../../src/upstream/upstream-options.ts';
import { blobAt } from '../../support/registry-blob.ts';
import { eventually } from '../../support/eventually.ts';
import { HttpServer, type Handler } from '../../support/http-server.ts';
import { TempDir } from '../../support/temp.ts';
import { answersOf, cut, collect, failsWith, makeBlob, ranges, repositoryAt } from '../upstream/fixture.ts';

const blob = makeBlob(40 * MIB + 12_345);
const LAYOUT = new ChunkLayout(blob.bytes.length);
const LIMITS: ServerLimits = {
  maxHeaderSize: 16 * KIB,
  requestTimeout: 10 * SECOND,
  timeoutCheck: SECOND,
  keepAlive: 10 * SECOND,
  maxConnections: 16,
  clientTimeout: 10 * SECOND,
};
const impatient = { ...systemClock, sleep: async () => undefined };

const { faulty, partial, whole } = answersOf(blob.bytes);

describe('byte workers: bodies from registries', () => {
  let stack: AsyncDisposableStack;
  let workers: ByteWorkers;
  let store: FsStore;
  let ingest: Ingest;
  /** Chunks that became whole, in order. */
  let wrote: number[];
  let at: number;

  beforeEach(async () => {
    stack = new AsyncDisposableStack();
    workers = stack.use(new ByteWorkers({ count: 2 }));
    const folder = new DataFolder(stack.use(await TempDir.create('bytes-upstream')).join('data'));
    await folder.create();
    const files = new Files(workers);
    store = stack.use(
      await FsStore.open({ folder, quota: 512 * MIB, partialMaxAge: 1e9, clock: systemClock, files }),
    );
    ingest = stack.use(await store.ingest(blobAt(blob.digest), blob.bytes.length));
    wrote = [];
    at = 0;
  });

  afterEach(() => stack.disposeAsync());

  async function serve(handler: Handler): Promise<HttpServer> {
    return stack.use(await HttpServer.start(handler));
  }

  function client(options: Partial<UpstreamOptions> = {}, readers = workers): Upstream {
    const blobs = new UpstreamClient(readers);
    const upstream = new Upstream({
      blobs,
      userAgent: 'weir/test',
      environment: {},
      retries: 3,
      clock: impatient,
      ...options,
    });
    stack.defer(() => upstream.close());
    return upstream;
  }

  /** Pours the bytes from `start` on into the ingest. */
  async function pour(
    registry: HttpServer,
    upstream: Upstream,
    { start = 0, end, ...own }: { start?: number; end?: number } & Partial<FileSink> = {},
  ): Promise<void> {
    const pouring = ingest.pour(start);
    at = start;
    const sink = {
      kind: 'file',
      file: pouring.file,
      reserve: (to: number) => pouring.reserve(to),
      wrote: (index: number, hash: Uint8Array) => {
        const bytes = blob.bytes.subarray(LAYOUT.start(index), LAYOUT.end(index));
        assert.deepEqual(Buffer.from(hash), createHash('sha256').update(bytes).digest(), `chunk ${index}`);
        wrote.push(index);
        pouring.wrote(index, hash);
      },
      ...own,
    } as const;
    const stream = await upstream.openBlob(repositoryAt(registry.host), blob.digest, { start, end });
    try {
      await stream.readInto(sink, (position) => (at = Math.max(at, position)));
    } finally {
      pouring.ended(at);
    }
  }

  /** The blob has its digest, and each chunk became whole once, in order. */
  async function committed(): Promise<void> {
    assert.deepEqual(wrote, [...Array(LAYOUT.count).keys()]);
    await ingest.commit();
    assert.equal((await store.stat(blob.digest))?.size, blob.bytes.length);
  }

  it('a body that is cut goes on at the byte at which it stopped, and has its digest', async () => {
    const registry = await serve(faulty(partial(7_654_321, cut), partial(MIB, cut), partial(100, cut)));
    await pour(registry, client());
    const starts = [7_654_321, 7_654_321 + MIB, 7_654_421 + MIB];
    assert.deepEqual(ranges(registry), [undefined, ...starts.map((start) => `bytes=${start}-`)]);
    await committed();
  });

  it('a body that has begun goes on as it began when the settings change; the next one does not', async () => {
    const name = '127.0.0.1:1';
    const registriesAt = (server: HttpServer): UpstreamOptions['registries'] =>
      new Map([[parseRegistryHost(name), { endpoint: new URL(server.url) }]]);
    const after = await serve(whole);
    let change: (() => void) | undefined;
    const before = await serve(
      faulty(
        partial(3 * MIB, (socket) => {
          change?.();
          cut(socket);
        }),
      ),
    );
    const upstream = client({ registries: registriesAt(before) });
    assert.equal(
      upstream.prepare({ retries: 3, registries: registriesAt(before) }),
      undefined,
      'nothing is new',
    );
    change = upstream.prepare({ retries: 3, registries: registriesAt(after) });
    const named = { host: name } as HttpServer;
    await pour(named, upstream);
    assert.deepEqual([before.requests.length, after.requests.length], [2, 0]);
    await committed();
    const next = await upstream.openBlob(repositoryAt(name), blob.digest);
    assert.equal(after.requests.length, 1);
    next.leave();
  });

  it('a second pour goes on in the middle of a chunk, and skips what a registry without Range repeats', async () => {
    const middle = 5 * MIB + 77_777;
    const registry = await serve(whole);
    const upstream = client();
    await pour(registry, upstream, { end: middle });
    assert.equal(at, middle);
    assert.deepEqual(ingest.nextGap(), { start: middle, end: blob.bytes.length });
    await pour(registry, upstream, { start: middle });
    await committed();
  });

  it('another size of the blob is refused', async () => {
    const registry = await serve((_, response) => {
      const headers = { 'content-range': `bytes 10-${MIB}/${MIB}`, 'content-length': MIB };
      response.writeHead(206, headers).end();
    });
    await failsWith('upstream_protocol', pour(registry, client(), { start: 10 }));
  });

  it('nothing is written beyond the credit: it waits for more', async () => {
    const registry = await serve(whole);
    const asked: number[] = [];
    const more = Promise.withResolvers<void>();
    const reserve = (to: number): Promise<void> => {
      asked.push(to);
      return asked.length === 1 ? Promise.resolve() : more.promise;
    };
    const pouring = pour(registry, client(), { reserve });
    await eventually(() => assert.equal(at, 16 * MIB));
    assert.deepEqual(asked, [16 * MIB, 32 * MIB]);
    const beyond = Buffer.alloc(MIB);
    readSync(ingest.content.fd, beyond, 0, beyond.length, 16 * MIB);
    assert.ok(beyond.every((byte) => byte === 0));
    assert.equal(ingest.readable(0), 16 * MIB);
    more.resolve();
    await pouring;
    assert.deepEqual(asked, [16, 32].map((to) => to * MIB).concat(blob.bytes.length));
    await committed();
  });

  it('a body ends where its credit ends if no more is given, with the reason', async () => {
    const registry = await serve(whole);
    const reserve = async (to: number): Promise<void> => {
      if (to > 16 * MIB) throw new WeirError('store_full', 'the quota is used up');
    };
    const error = await failsWith('store_full', pour(registry, client(), { reserve }));
    assert.equal(error.message, 'the quota is used up');
    assert.equal(at, 16 * MIB);
    assert.equal(registry.requests.length, 1, 'it is not asked for again');
    await eventually(() => assert.equal(registry.connections, 0));
  });

  it('a file that cannot be written ends the body', async () => {
    const registry = await serve(whole);
    const file = { ...ingest.content, fd: 9999 };
    const error = await failsWith('store_unusable', pour(registry, client(), { file }));
    assert.match(error.message, /EBADF/);
    assert.equal(at, 0);
    assert.equal(registry.requests.length, 1);
  });

  it('another worker goes on if one ends in mid-body', async () => {
    const registry = await serve(faulty(partial(3 * MIB + 1000, () => undefined)));
    const reasons: string[] = [];
    const retry = (_registry: unknown, reason: string): void => void reasons.push(reason);
    const readers = stack.use(new ByteWorkers({ count: 1 }));
    const observer = { request: () => undefined, bytes: () => undefined, retry };
    const upstream = client({ observer }, readers);
    const pouring = pour(registry, upstream);
    await eventually(() => assert.equal(at, 3 * MIB + 1000));
    const [reader] = readers.threads;
    await reader?.kill();
    await pouring;
    assert.deepEqual(reasons, ['upstream_cut']);
    assert.notEqual(readers.threads[0], reader);
    assert.deepEqual(ranges(registry), [undefined, `bytes=${3 * MIB + 1000}-`]);
    await committed();
  });

  it('a slow body is written and told soon', async () => {
    let go = (): void => undefined;
    const registry = await serve((_, response) => {
      response.writeHead(200, { 'content-length': blob.bytes.length });
      response.write(blob.bytes.subarray(0, 1000));
      go = () => void response.end(blob.bytes.subarray(1000));
    });
    const pouring = pour(registry, client());
    await eventually(() => assert.equal(at, 1000));
    assert.equal(ingest.readable(0), 1000);
    go();
    await pouring;
    await committed();
  });

  it('chunks are put together in places, also over a cut, and are written from there', async () => {
    const registry = await serve(
      faulty(partial(LAYOUT.chunkSize + 300_000, cut), partial(LAYOUT.chunkSize, cut)),
    );
    let unfinished: UnfinishedPlace | undefined;
    const lefts: UnfinishedPlace[] = [];
    const begun: number[] = [];
    const writing: Promise<unknown>[] = [];
    const stream = await client().openBlob(repositoryAt(registry.host), blob.digest, {
      worker: () => unfinished?.worker,
    });
    const sink: ChunkSink = {
      kind: 'chunks',
      size: stream.size,
      resume: () => unfinished,
      begin: async (index) => void begun.push(index),
      chunk: (index, chunk) => {
        wrote.push(index);
        writing.push(ingest.writeChunk(index, chunk));
      },
      left: (place) => void lefts.push((unfinished = place)),
    };
    await stream.readInto(sink);
    await Promise.all(writing);
    assert.deepEqual(
      lefts.map(({ index, filled }) => [index, filled]),
      [
        [1, 300_000],
        [2, 300_000],
      ],
    );
    assert.deepEqual(
      ranges(registry).slice(1),
      [1, 2].map((index) => `bytes=${LAYOUT.start(index) + 300_000}-`),
    );
    assert.deepEqual([...new Set(begun)], [...Array(LAYOUT.count).keys()]);
    await committed();
  });

  it('refuses addresses where connections are made', async () => {
    const registry = await serve((_, response) => {
      response.writeHead(307, { location: 'http://169.254.169.254/latest/meta-data/' }).end();
    });
    const upstream = client();
    const repository = repositoryAt(registry.host);
    await failsWith('address_refused', upstream.openBlob(repository, blob.digest));
    assert.equal(registry.requests.length, 1);
    const caller = remoteCallerOf(repository.registry, 'token-of-a-member');
    await failsWith('address_refused', upstream.openBlob(repository, blob.digest, { caller }));
    assert.equal(registry.requests.length, 1);
  });

  it('uses the proxy of the environment', async () => {
    const proxy = await serve(whole);
    const registries = new Map([[parseRegistryHost('plain.test'), { plainHttp: true }]]);
    const upstream = client({ registries, environment: { http_proxy: proxy.url } });
    const stream = await upstream.openBlob(repositoryAt('plain.test'), blob.digest);
    assert.ok((await collect(stream)).equals(blob.bytes));
    assert.equal(proxy.requests[0]?.url, `http://plain.test/v2/team/app/blobs/${blob.digest}`);
  });

  it('a blob passes through to a client, and its last chunk only if its digest is right', async () => {
    const registry = await serve(whole);
    const upstream = client();
    const http = new Http(workers);
    const verified: string[] = [];
    const listener = stack.use(
      await http.listen(
        { host: '127.0.0.1', port: 0 },
        {
          limits: LIMITS,
          onWarning: (message) => assert.fail(message),
          onExchange: ({ request, response }) => {
            void passTo(response, request.url.slice(1) as Digest);
          },
        },
      ),
    );
    async function passTo(response: ExchangeResponse, digest: Digest): Promise<void> {
      await using reader = await PassThroughReader.open({
        upstream,
        request: { repository: repositoryAt(registry.host), caller: 'configured', worker: response.worker },
        digest,
        listedSize: undefined,
        stallTimeout: 5000,
        onVerified: () => void verified.push(digest),
        onClose: () => undefined,
      });
      await reader.ready(0);
      response.writeHead(200, { 'Content-Length': reader.size });
      await reader.sendTo(response, 0, reader.size).catch(() => response.closeShort());
    }
    const get = async (digest: Digest): Promise<Buffer> => {
      const parts: Buffer[] = [];
      const response = await fetch(`http://127.0.0.1:${listener.port}/${digest}`);
      try {
        for await (const part of response.body ?? []) parts.push(Buffer.from(part as Uint8Array));
      } catch {
        // It was cut.
      }
      return Buffer.concat(parts);
    };
    assert.ok((await get(blob.digest)).equals(blob.bytes));
    const wrong = await get(digestOf(Buffer.from('another blob')));
    assert.ok(wrong.length <= LAYOUT.lastStart, 'the last chunk is held back');
    assert.ok(wrong.equals(blob.bytes.subarray(0, wrong.length)));
    assert.deepEqual(verified, [blob.digest]);
  });

  it('connections to one registry are shared out between the workers', async () => {
    const registry = await serve(partial(10, () => undefined));
    const upstream = client({ maxConnections: 7, headerTimeout: 10_000 });
    const stop = new AbortController();
    const opening = Array.from({ length: 20 }, () =>
      upstream.openBlob(repositoryAt(registry.host), blob.digest, { signal: stop.signal }),
    );
    const opened = Promise.allSettled(opening);
    await Promise.all(opening.slice(0, 6));
    await new Promise(setImmediate);
    assert.equal(registry.connections, 6);
    assert.equal(registry.requests.length, 6);
    stop.abort();
    assert.equal((await opened).filter(({ status }) => status === 'fulfilled').length, 6);
    await eventually(() => assert.equal(registry.connections, 0));
  });
});
