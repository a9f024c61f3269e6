import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { ErrorCode } from '../../../src/util/errors.ts';
import { Progress } from '../../../src/util/progress.ts';
import { BodyCollector } from '../../support/body-collector.ts';
import { HttpServer, type Handler } from '../../support/http-server.ts';
import {
  answersOf,
  cut,
  collect,
  failsWith,
  makeBlob,
  ranges,
  repositoryAt,
  serveBytes,
  TestUpstream,
} from './fixture.ts';

const blob = makeBlob(3_000_000);
const impatientClock = {
  now: Date.now,
  monotonic: () => performance.now(),
  sleep: async () => undefined,
  random: () => 0,
};

const { faulty, partial, whole } = answersOf(blob.bytes);
const reset = (response: ServerResponse): void => {
  (response.socket as Socket).resetAndDestroy();
};
const stall = (): void => undefined;

async function pull(
  handler: Handler,
  options: { readonly start?: number; readonly end?: number } = {},
  settings: ConstructorParameters<typeof TestUpstream>[0] = {},
): Promise<HttpServer> {
  await using registry = await HttpServer.start(handler);
  await using upstream = new TestUpstream({
    clock: impatientClock,
    stallTimeout: 200,
    headerTimeout: 200,
    ...settings,
  });
  const stream = await upstream.openBlob(repositoryAt(registry.host), blob.digest, options);
  assert.equal(stream.size, blob.bytes.length);
  const got = await collect(stream, options.start);
  assert.ok(got.equals(blob.bytes.subarray(options.start ?? 0, options.end)), 'the bytes differ');
  return registry;
}

describe('upstream: blobs', () => {
  it('reads a whole blob without Range', async () => {
    const registry = await pull(faulty());
    assert.deepEqual(ranges(registry), [undefined]);
    assert.equal(registry.requests[0]?.url, `/v2/team/app/blobs/${blob.digest}`);
  });

  it('reads from a byte on, and reads a part', async () => {
    assert.deepEqual(ranges(await pull(faulty(), { start: 1000 })), ['bytes=1000-']);
    assert.deepEqual(ranges(await pull(faulty(), { start: 5, end: 2_000_000 })), ['bytes=5-1999999']);
    assert.deepEqual(ranges(await pull(faulty(), { end: 1 })), ['bytes=0-0']);
  });

  it('accepts a 200 to a Range, and drops bytes that were not requested', async () => {
    await pull(whole, { start: 1_234_567 });
    await pull(whole, { start: 1_234_567, end: 2_345_678 });
  });

  for (const [name, then] of Object.entries({ reset, cut, stall })) {
    it(`resumes where a ${name} stopped it`, async () => {
      const registry = await pull(faulty(partial(1_000_000, then), partial(500_000, then)));
      const [first, second, third] = ranges(registry);
      assert.equal(first, undefined);
      assert.equal(registry.requests.length, 3);
      // A reset may discard bytes that the socket still had.
      const at = Number(/^bytes=([0-9]+)-$/.exec(second ?? '')?.[1]);
      assert.ok(name === 'reset' ? at <= 1_000_000 : at === 1_000_000, `asked for ${String(second)}`);
      if (name !== 'reset') assert.equal(third, 'bytes=1500000-');
    });
  }

  it('resumes after a registry without Range cut', async () => {
    await pull(faulty(partial(1_000_000, cut), whole));
  });

  it('counts attempts anew after progress', async () => {
    const registry = await pull(
      faulty(...Array.from({ length: 10 }, () => partial(10_000, cut))),
      {},
      { retries: 1 },
    );
    assert.equal(registry.requests.length, 11);
  });

  const hopeless: readonly (readonly [string, Handler, ErrorCode])[] = [
    ['cuts', (_, response) => cut(response), 'upstream_cut'],
    ['resets', (_, response) => reset(response), 'upstream_cut'],
    ['never answers', stall, 'upstream_timeout'],
    ['stalls at once', partial(0, stall), 'upstream_stalled'],
    ['answers 503', (_, response) => void response.writeHead(503).end(), 'upstream_status'],
    ['answers 429', (_, response) => void response.writeHead(429).end(), 'upstream_throttled'],
  ];
  for (const [name, handler, code] of hopeless) {
    it(`fails with ${code} after the retries if a registry ${name}`, async () => {
      await using registry = await HttpServer.start((request, response) => {
        if (name === 'stalls at once') {
          response.writeHead(200, { 'content-length': 10 });
          response.flushHeaders();
          return undefined;
        }
        return handler(request, response);
      });
      const settings = { clock: impatientClock, stallTimeout: 100, headerTimeout: 100, retries: 2 };
      await using upstream = new TestUpstream(settings);
      const work = upstream
        .openBlob(repositoryAt(registry.host), blob.digest)
        .then((stream) => collect(stream));
      await failsWith(code, work);
      assert.equal(registry.requests.length, 3);
    });
  }

  it('tells a missing blob from a forbidden one', async () => {
    let status = 404;
    await using registry = await HttpServer.start((_, response) => void response.writeHead(status).end());
    await using upstream = new TestUpstream();
    await failsWith('blob_unknown', upstream.openBlob(repositoryAt(registry.host), blob.digest));
    status = 403;
    await failsWith('upstream_denied', upstream.openBlob(repositoryAt(registry.host), blob.digest));
    assert.equal(registry.requests.length, 2);
  });

  const lies: readonly (readonly [string, number, Record<string, string>])[] = [
    ['another start', 206, { 'content-range': 'bytes 11-99/100', 'content-length': '89' }],
    ['an end beyond the total', 206, { 'content-range': 'bytes 10-100/100', 'content-length': '91' }],
    ['no total', 206, { 'content-range': 'bytes 10-99/*', 'content-length': '90' }],
    ['no Content-Range', 206, { 'content-length': '90' }],
    [
      'a length that differs from its range',
      206,
      { 'content-range': 'bytes 10-99/100', 'content-length': '91' },
    ],
    ['a 200 that is too short', 200, { 'content-length': '9' }],
    ['a 200 without length', 200, { 'transfer-encoding': 'chunked' }],
    ['a 416 within the blob', 416, { 'content-range': 'bytes */100' }],
  ];
  for (const [name, status, headers] of lies) {
    it(`refuses ${name}`, async () => {
      await using registry = await HttpServer.start((_, response) => {
        response.writeHead(status, headers);
        response.flushHeaders();
        response.destroy();
      });
      await using upstream = new TestUpstream({ clock: impatientClock });
      const opened = upstream.openBlob(repositoryAt(registry.host), blob.digest, { start: 10 });
      await failsWith('upstream_protocol', opened);
    });
  }

  it('refuses a size that changes on the way', async () => {
    await using registry = await HttpServer.start(
      faulty(partial(1000, cut), (_, response) => {
        const headers = { 'content-range': 'bytes 1000-1999/2000', 'content-length': 1000 };
        response.writeHead(206, headers).end(Buffer.alloc(1000));
      }),
    );
    await using upstream = new TestUpstream({ clock: impatientClock });
    const stream = await upstream.openBlob(repositoryAt(registry.host), blob.digest);
    await failsWith('upstream_protocol', collect(stream));
  });

  it('reads empty blobs, and ranges that begin at the end', async () => {
    const empty = makeBlob(0);
    await using registry = await HttpServer.start((request, response) =>
      serveBytes(
        request.headers.range,
        response,
        request.url?.includes(empty.digest) ? empty.bytes : blob.bytes,
      ),
    );
    await using upstream = new TestUpstream();
    const none = await upstream.openBlob(repositoryAt(registry.host), empty.digest);
    assert.equal(none.size, 0);
    assert.equal((await collect(none)).length, 0);
    const end = await upstream.openBlob(repositoryAt(registry.host), blob.digest, {
      start: blob.bytes.length,
    });
    assert.equal(end.size, blob.bytes.length);
    assert.equal((await collect(end, blob.bytes.length)).length, 0);
  });

  it('does not take a slow reader for a stalled registry, and bounds its read-ahead', async () => {
    const big = makeBlob(24_000_000);
    let sent = 0;
    await using registry = await HttpServer.start(async (_, response) => {
      response.writeHead(200, { 'content-length': big.bytes.length });
      for (let at = 0; at < big.bytes.length; at += 100_000) {
        const chunk = big.bytes.subarray(at, at + 100_000);
        await new Promise((resolve) => response.write(chunk, resolve));
        sent += chunk.length;
      }
      response.end();
    });
    await using stalling = await HttpServer.start((_, response) => {
      response.writeHead(200, { 'content-length': blob.bytes.length }).flushHeaders();
    });
    await using upstream = new TestUpstream({ stallTimeout: 150 });
    await using other = new TestUpstream({ stallTimeout: 150, retries: 0 });
    const stream = await upstream.openBlob(repositoryAt(registry.host), big.digest);
    const pass = upstream.pass(undefined, {
      digest: big.digest,
      size: stream.size,
      heldBack: 0,
      prefix: undefined,
    });
    const reading = stream.readInto(pass.sink);
    const { progress } = pass.content;
    await new Progress(progress).changed(0, 5000); // the first bytes are there
    // So long that a registry that does stall, and is asked only now, is given up.
    const stalled = await other.openBlob(repositoryAt(stalling.host), blob.digest);
    await failsWith('upstream_stalled', collect(stalled));
    assert.ok(sent < 20_000_000, `${sent} bytes were taken before the reader wanted them`);
    const reader = new BodyCollector();
    assert.equal(await reader.send(pass.content, 0, stream.size), stream.size);
    await reading;
    assert.ok(reader.bytes.equals(big.bytes));
    pass.close();
  });

  it('closes the connection when the reader leaves, or the signal is aborted', async () => {
    await using registry = await HttpServer.start(partial(2_000_000, stall));
    await using upstream = new TestUpstream({ stallTimeout: 10_000 });
    const repository = repositoryAt(registry.host);
    const stream = await upstream.openBlob(repository, blob.digest);
    const left = collect(stream);
    stream.leave();
    await failsWith('aborted', left);
    const controller = new AbortController();
    const second = await upstream.openBlob(repository, blob.digest, { signal: controller.signal });
    controller.abort();
    await failsWith('aborted', collect(second));
    while (registry.connections > 0) await delay(5);
  });

  it('leaves the queue for a connection when aborted', async () => {
    await using registry = await HttpServer.start(partial(1000, stall));
    await using upstream = new TestUpstream({ maxConnections: 1, stallTimeout: 10_000 });
    const repository = repositoryAt(registry.host);
    await upstream.openBlob(repository, blob.digest);
    const controller = new AbortController();
    const waiting = upstream.openBlob(repository, blob.digest, { signal: controller.signal });
    controller.abort();
    await failsWith('aborted', waiting);
    assert.equal(registry.requests.length, 1);
  });

  it('reports to the observer', async () => {
    const seen: unknown[] = [];
    let bytes = 0;
    await pull(
      faulty(partial(1_000_000, cut)),
      {},
      {
        observer: {
          request: (_registry, kind, status, seconds) => seen.push([kind, status, seconds >= 0]),
          bytes: (_registry, n) => (bytes += n),
          retry: (_registry, reason) => seen.push(reason),
        },
      },
    );
    assert.deepEqual(seen, [['blob', 200, true], 'upstream_cut', ['blob', 206, true]]);
    assert.equal(bytes, blob.bytes.length);
  });
});
