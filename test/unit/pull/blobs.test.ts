import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { MIB, SECOND, systemClock } from '../../../src/util/clock.ts';
import { isWeirError, type ErrorCode } from '../../../src/util/errors.ts';
import { parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';
import type { BlobRequest } from '../../../src/pull/blobs-options.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { callerOf, type Caller } from '../../../src/upstream/caller.ts';
import type { Credential } from '../../../src/upstream/credential.ts';
import { BodyCollector, readBody } from '../../support/body-collector.ts';
import { seededBytes } from '../../support/bytes.ts';
import { eventually } from '../../support/eventually.ts';
import { MirrorFixture } from '../../support/mirror-fixture.ts';
import { QuietPull } from '../../support/quiet-pull.ts';

function requestFor(fixture: MirrorFixture, digest: Digest, more: Partial<BlobRequest> = {}): BlobRequest {
  const repository = parseRepository(parseRegistryHost(fixture.registry.host), 'a/b');
  return { repository, caller: 'configured', digest, resuming: false, dependent: false, ...more };
}

const isCode =
  (code: ErrorCode) =>
  (error: unknown): boolean =>
    isWeirError(error, code);

describe('Blobs', () => {
  it('asks upstream once for any number of readers, each at its own speed', async () => {
    await using fixture = await MirrorFixture.start();
    const bytes = seededBytes(40 * MIB);
    const digest = fixture.registry.addBlob('a/b', bytes);
    const readers = await Promise.all(
      [1, 2, 3, 4].map(() => fixture.blobs.open(requestFor(fixture, digest))),
    );
    const steps = [10_000, 100_000, 1_000_000, 7_777];
    const all = await Promise.all(
      readers.map((reader, index) => readBody(reader, { step: steps[index] ?? 1 })),
    );
    for (const got of all) assert.ok(got.equals(bytes));
    for (const reader of readers) await reader[Symbol.asyncDispose]();
    assert.equal(fixture.registry.count(/blobs/), 1);
  });

  it('does not end the pull of other readers if one gives up', async () => {
    await using fixture = await MirrorFixture.start({ linger: 0 });
    const bytes = seededBytes(2 * MIB);
    const digest = fixture.registry.addBlob('a/b', bytes);
    const stop = new AbortController();
    const asked = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    fixture.registry.intercept = (_request, response) => {
      asked.resolve();
      void go.promise.then(() => {
        response.writeHead(200, { 'Content-Length': bytes.length });
        response.end(bytes);
      });
      return true;
    };
    const first = fixture.blobs.open(requestFor(fixture, digest, { signal: stop.signal }));
    await asked.promise;
    const second = fixture.blobs.open(requestFor(fixture, digest));
    const refused = assert.rejects(first);
    stop.abort();
    await refused;
    go.resolve();
    // The first caller may leave before the second is a reader: then the download is begun again, and never fails it.
    await using reading = await second;
    assert.ok((await readBody(reading)).equals(bytes));
  });

  it('stops after the last reader has left, and keeps the bytes that have arrived', async () => {
    await using fixture = await MirrorFixture.start({ linger: 10, upstreamStallTimeout: 30_000 });
    const bytes = seededBytes(40 * MIB);
    const digest = fixture.registry.addBlob('a/b', bytes);
    const closed = Promise.withResolvers<void>();
    fixture.registry.intercept = (request, response) => {
      if (request.headers.range !== undefined) return false;
      response.writeHead(200, { 'Content-Length': bytes.length });
      response.write(bytes.subarray(0, 19.5 * MIB));
      response.once('close', () => closed.resolve());
      return true;
    };
    {
      await using reading = await fixture.blobs.open(requestFor(fixture, digest));
      await reading.sendTo(new BodyCollector(), 19 * MIB, 19 * MIB + 100);
    }
    await closed.promise;
    await using again = await fixture.blobs.open(requestFor(fixture, digest));
    assert.ok((await readBody(again, { step: MIB })).equals(bytes));
    const ranges = fixture.registry.server.requests.map(({ headers }) => headers['range']).filter(Boolean);
    assert.deepEqual(ranges, [`bytes=${19 * MIB}-${40 * MIB - 1}`], 'whole chunks were kept (1 MiB each)');
  });

  it('asks for the gaps only if chunks turn up after it has asked for the whole blob', async () => {
    let isHidden = false;
    await using fixture = await MirrorFixture.start({
      linger: 10,
      upstreamStallTimeout: 30_000,
      wrapStore: (store) =>
        new Proxy(store, {
          get: (target, name) => {
            if (name === 'resume' && isHidden) return () => Promise.resolve(undefined);
            return Reflect.get(target, name, target)?.bind?.(target) ?? Reflect.get(target, name);
          },
        }),
    });
    const bytes = seededBytes(40 * MIB);
    const digest = fixture.registry.addBlob('a/b', bytes);
    const { registry } = fixture;
    let left = Promise.withResolvers<void>();
    registry.intercept = (request, response) => {
      response.once('close', () => left.resolve());
      if (request.headers.range !== undefined) return false;
      response.writeHead(200, { 'Content-Length': bytes.length });
      response.write(bytes.subarray(0, 19 * MIB));
      return true;
    };
    {
      await using reading = await fixture.blobs.open(requestFor(fixture, digest));
      await reading.sendTo(new BodyCollector(), 19 * MIB - 100, 19 * MIB);
    }
    await left.promise;
    left = Promise.withResolvers();
    isHidden = true;
    await using again = await fixture.blobs.open(requestFor(fixture, digest));
    await left.promise;
    assert.ok((await readBody(again)).equals(bytes));
    const ranges = registry.server.requests.map(({ headers }) => headers['range']);
    assert.deepEqual(ranges, [undefined, undefined, `bytes=${19 * MIB}-${40 * MIB - 1}`]);
  });

  it('goes on for a while after the last reader, so that a reader can come back', async () => {
    await using fixture = await MirrorFixture.start({ linger: 60_000 });
    const bytes = seededBytes(40 * MIB);
    const digest = fixture.registry.addBlob('a/b', bytes);
    {
      await using reading = await fixture.blobs.open(requestFor(fixture, digest));
      await reading.sendTo(new BodyCollector(), 0, 100);
    }
    await using again = await fixture.blobs.open(requestFor(fixture, digest));
    assert.ok((await readBody(again, { step: MIB })).equals(bytes));
    assert.equal(fixture.registry.count(/blobs/), 1);
  });

  it('retries a blob that has begun to arrive for some seconds, even if all retries are used up', async () => {
    await using fixture = await MirrorFixture.start({ retries: 0, stallTimeout: 10_000 });
    const bytes = seededBytes(40 * MIB);
    const digest = fixture.registry.addBlob('a/b', bytes);
    let backAt = Infinity;
    fixture.registry.intercept = (request, response) => {
      if (request.headers.range === undefined) {
        response.writeHead(200, { 'Content-Length': bytes.length });
        response.write(bytes.subarray(0, 20 * MIB), () => response.socket?.end());
        backAt = performance.now() + 1_500;
        return true;
      }
      if (performance.now() > backAt) return false;
      request.socket.resetAndDestroy();
      return true;
    };
    await using reading = await fixture.blobs.open(requestFor(fixture, digest));
    assert.ok((await readBody(reading, { step: MIB })).equals(bytes));
  });

  it('lets pulls above its bound wait, in their order, and counts them as arriving while bytes come', async () => {
    let time = 0;
    const clock = { ...systemClock, monotonic: () => time };
    await using fixture = await MirrorFixture.start({ maxConcurrent: 1, clock });
    const [first, second, third] = ['1', '2', '3'].map((seed) =>
      fixture.registry.addBlob('a/b', seededBytes(1000, seed)),
    );
    assert.ok(first !== undefined && second !== undefined && third !== undefined);
    const held = Promise.withResolvers<ServerResponse>();
    fixture.registry.intercept = (request, response) => {
      if (request.url?.includes(first) !== true) return false;
      held.resolve(response);
      return true;
    };
    const stop = new AbortController();
    const opening = fixture.blobs.open(requestFor(fixture, first));
    const given = assert.rejects(fixture.blobs.open(requestFor(fixture, second, { signal: stop.signal })));
    const waiting = fixture.blobs.open(requestFor(fixture, third));
    const response = await held.promise;
    const registry = parseRegistryHost(fixture.registry.host);
    const isArriving = (digest: Digest): boolean => fixture.blobs.isArriving({ registry, digest }, 1000);
    assert.deepEqual([second, third].map(isArriving), [true, true]);
    time = 1001;
    assert.deepEqual([second, third].map(isArriving), [false, false]);
    stop.abort();
    await given;
    assert.equal(isArriving(second), false);
    response.writeHead(200, { 'Content-Length': 1000 }).end(seededBytes(1000, '1'));
    await using one = await opening;
    assert.ok((await readBody(one)).equals(seededBytes(1000, '1')));
    await using other = await waiting;
    assert.ok((await readBody(other)).equals(seededBytes(1000, '3')));
  });

  it('shows nothing of a blob that was wrong a moment ago before all of it is right', async () => {
    let shift = 0;
    const clock = { ...systemClock, monotonic: (): number => systemClock.monotonic() + shift };
    await using fixture = await MirrorFixture.start({ clock, stallTimeout: 60 * SECOND });
    const bytes = seededBytes(5 * MIB);
    const digest = fixture.registry.addBlob('a/b', bytes);
    const second = Promise.withResolvers<ServerResponse>();
    let requests = 0;
    fixture.registry.intercept = (request, response) => {
      if (request.method !== 'GET') return false;
      response.writeHead(200, { 'Content-Length': bytes.length });
      if (++requests === 1) response.end(Buffer.alloc(bytes.length));
      else response.write(bytes.subarray(0, 3 * MIB), () => second.resolve(response));
      return true;
    };
    let isWhole = false;
    await using reading = await fixture.blobs.open(requestFor(fixture, digest));
    const ready = reading
      .ready(0)
      .then(() => assert.ok(isWhole, 'it showed bytes before the digest was right'));
    const registry = await second.promise;
    shift = 2.5 * SECOND; // beyond the patience with which a small blob is held back
    const [received] = fixture.blobs.alone;
    await eventually(() => assert.ok((received?.ingest.readable(0) ?? 0) > 0));
    isWhole = true;
    registry.end(bytes.subarray(3 * MIB));
    await ready;
    assert.ok((await readBody(reading)).equals(bytes));
  });

  it('keeps a reader for longer than a stall while this machine has no way to the registry', async () => {
    let time = 0;
    const clock = { ...systemClock, monotonic: (): number => time };
    const pull = new QuietPull(MIB, false);
    await using fixture = await MirrorFixture.start({ clock, share: () => Promise.resolve(pull) });
    const digest = fixture.registry.addBlob('a/b', seededBytes(MIB));
    await using reading = await fixture.blobs.open(requestFor(fixture, digest));
    pull.isCutOff = true;
    const waiting = reading.ready(0);
    time = 31 * SECOND;
    await assert.rejects(waiting, /nothing of .* came for 30 s/);
  });

  it('retries a blob that has just failed only for runtimes that cannot go upstream', async () => {
    await using fixture = await MirrorFixture.start({ retries: 1 });
    const bytes = seededBytes(1000);
    const digest = fixture.registry.addBlob('a/b', bytes);
    fixture.registry.intercept = (_request, response) => {
      response.writeHead(503).end();
      return true;
    };
    await assert.rejects(fixture.blobs.open(requestFor(fixture, digest)), isCode('upstream_status'));
    const asked = fixture.registry.server.requests.length;
    await assert.rejects(fixture.blobs.open(requestFor(fixture, digest)), isCode('handed_over'));
    assert.equal(fixture.registry.server.requests.length, asked);
    fixture.registry.intercept = () => false;
    await using reading = await fixture.blobs.open(requestFor(fixture, digest, { dependent: true }));
    assert.ok((await readBody(reading)).equals(bytes));
  });

  it('counts a blob as arriving while any blob that is pulled with peers gets bytes: they take turns', async () => {
    let time = 0;
    const pulls = new Map<Digest, QuietPull>();
    const share = async (_request: unknown, digest: Digest): Promise<QuietPull | undefined> =>
      pulls.get(digest);
    const clock = { ...systemClock, monotonic: () => time };
    await using fixture = await MirrorFixture.start({ share, clock });
    const add = (seed: string): Digest => fixture.registry.addBlob('a/b', seededBytes(MIB, seed));
    const [first, second, alone] = [add('first'), add('second'), add('alone')];
    for (const digest of [first, second]) pulls.set(digest, new QuietPull(MIB, true));
    fixture.registry.intercept = (_request, response) => {
      response.writeHead(200, { 'Content-Length': MIB }).flushHeaders(); // and no byte follows
      return true;
    };
    const opened = [first, second, alone].map((digest) => fixture.blobs.open(requestFor(fixture, digest)));
    const readings = await Promise.all(opened);
    const registry = parseRegistryHost(fixture.registry.host);
    const arriving = (): readonly boolean[] =>
      [first, second, alone].map((digest) => fixture.blobs.isArriving({ registry, digest }, 1000));
    assert.deepEqual(arriving(), [true, true, false], 'they have just begun');
    time = 5000;
    assert.deepEqual(arriving(), [false, false, false]);
    (await pulls.get(first)?.began.promise)?.progressed();
    time = 5999;
    assert.deepEqual(arriving(), [true, true, false]);
    time = 6001;
    assert.deepEqual(arriving(), [false, false, false]);
    for (const reading of readings) await reading[Symbol.asyncDispose]();
  });

  it('serves sizes 0 and 1', async () => {
    await using fixture = await MirrorFixture.start();
    for (const size of [0, 1]) {
      const bytes = seededBytes(size);
      const digest = fixture.registry.addBlob('a/b', bytes);
      for (const source of ['upstream', 'store']) {
        await using reading = await fixture.blobs.open(requestFor(fixture, digest));
        assert.equal(reading.source, source);
        assert.ok((await readBody(reading)).equals(bytes));
      }
    }
  });

  it('serves sha512 digests', async () => {
    await using fixture = await MirrorFixture.start();
    const bytes = seededBytes(1000);
    const digest = digestOf(bytes, 'sha512');
    fixture.registry.repository('a/b').blobs.set(digest, bytes);
    await using reading = await fixture.blobs.open(requestFor(fixture, digest));
    assert.ok((await readBody(reading)).equals(bytes));
  });

  it('begins a new pull for the next caller after one failed for its caller', async () => {
    await using fixture = await MirrorFixture.start();
    const bytes = seededBytes(1000);
    const digest = fixture.registry.addBlob('a/b', bytes);
    const good = { kind: 'basic', username: 'a', password: 'b' } as const;
    const as = (credential: Credential): Caller =>
      callerOf(parseRegistryHost(fixture.registry.host), credential);
    fixture.registry.repository('a/b').authorization = `Basic ${Buffer.from('a:b').toString('base64')}`;
    const bad = fixture.blobs.open(requestFor(fixture, digest, { caller: as({ ...good, password: 'x' }) }));
    const right = fixture.blobs.open(requestFor(fixture, digest, { caller: as(good) }));
    await assert.rejects(bad, (error) => isWeirError(error, 'upstream_unauthorized'));
    await using reading = await right;
    assert.ok((await readBody(reading)).equals(bytes));
  });
});
