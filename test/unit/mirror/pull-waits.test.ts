/** What a request waited for, and where its bytes came from, as its report tells. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { once } from 'node:events';
import type { RequestReport } from '../../../src/mirror/mirror.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { BlobOrigin } from '../../../src/pull/blob-origin.ts';
import { MIB } from '../../../src/util/clock.ts';
import { seededBytes } from '../../support/bytes.ts';
import { eventually } from '../../support/eventually.ts';
import { MirrorFixture } from '../../support/mirror-fixture.ts';

const SIZE = 100_000;

/** The reports of the requests for this blob, once there are so many. */
function reportsOf(fixture: MirrorFixture, digest: Digest, count = 1): Promise<readonly RequestReport[]> {
  return eventually(() => {
    const own = fixture.reports.filter(({ route }) => route?.kind === 'blob' && route.digest === digest);
    assert.equal(own.length, count);
    return own;
  });
}

async function originOf(fixture: MirrorFixture, digest: Digest, count = 1): Promise<BlobOrigin | undefined> {
  const served = (await reportsOf(fixture, digest, count)).at(-1)?.mirrorRequest.served;
  return served?.kind === 'blob' ? served.origin : undefined;
}

const read = async (answer: Promise<Response>): Promise<number> => (await (await answer).bytes()).length;

describe('The report of a request', () => {
  it('tells of the wait for a place, and of the wait for the registry', async () => {
    await using fixture = await MirrorFixture.start({ maxConcurrent: 1, headerTimeout: 10_000 });
    const { registry } = fixture;
    const first = registry.addBlob('team/app', seededBytes(SIZE, 1));
    const second = registry.addBlob('team/app', seededBytes(SIZE, 2));
    const [asked, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    registry.intercept = (request, response) => {
      if (request.url?.includes(first) !== true) return false;
      registry.intercept = () => false;
      asked.resolve();
      void released.promise.then(() => registry.server.handler(request, response));
      return true;
    };
    const one = read(fixture.get(`team/app/blobs/${first}`));
    await asked.promise;
    const two = read(fixture.get(`team/app/blobs/${second}`));
    await eventually(() => assert.equal(fixture.mirror.active, 2));
    const began = performance.now();
    await once(AbortSignal.timeout(100), 'abort');
    released.resolve();
    assert.deepEqual(await Promise.all([one, two]), [SIZE, SIZE]);
    const held = (performance.now() - began) / 1000;
    const [[a], [b]] = [await reportsOf(fixture, first), await reportsOf(fixture, second)];
    assert.ok(a !== undefined && b !== undefined);
    assert.ok(a.mirrorRequest.waits.seconds.registry >= 0.09, JSON.stringify(a.mirrorRequest.waits.seconds));
    assert.equal(a.mirrorRequest.waits.seconds.queue, 0);
    assert.ok(b.mirrorRequest.waits.seconds.queue >= 0.09, JSON.stringify(b.mirrorRequest.waits.seconds));
    for (const { seconds, mirrorRequest } of [a, b]) {
      const waited = Object.values(mirrorRequest.waits.seconds).reduce((sum, each) => sum + each, 0);
      assert.ok(waited <= seconds + 0.001, `${waited} of ${seconds} s`);
      assert.ok(waited > seconds - held / 2, `${waited} of ${seconds} s`);
    }
  });

  it('tells bytes of the registry and of the store apart', async () => {
    await using fixture = await MirrorFixture.start();
    const digest = fixture.registry.addBlob('team/app', seededBytes(SIZE, 3));
    const path = `team/app/blobs/${digest}`;
    await read(fixture.get(path));
    const { store, registry } = (await originOf(fixture, digest)) ?? {};
    assert.deepEqual([store, registry], [0, SIZE]);
    await read(fixture.get(path));
    const again = await originOf(fixture, digest, 2);
    assert.deepEqual([again?.store, again?.registry], [SIZE, 0]);
    const [, report] = await reportsOf(fixture, digest, 2);
    assert.equal(report?.mirrorRequest.waits.seconds.registry, 0);
    assert.ok(report?.mirrorRequest.readyAt !== undefined);
  });

  it('tells of bytes that passed through', async () => {
    await using fixture = await MirrorFixture.start();
    await rm(`${fixture.folder}/partial`, { recursive: true }); // nothing can be stored
    const digest = fixture.registry.addBlob('team/app', seededBytes(3 * MIB, 4));
    assert.equal(await read(fixture.get(`team/app/blobs/${digest}`)), 3 * MIB);
    const origin = await originOf(fixture, digest);
    assert.deepEqual([origin?.passedThrough, origin?.registry], [true, 3 * MIB]);
  });

  it('tells where a layer came from that was fetched before it was asked for, to the first who asks', async () => {
    await using fixture = await MirrorFixture.start({ seesRuntime: true });
    const contents = [5, 6].map((seed) => seededBytes(SIZE, seed));
    const { layers } = fixture.registry.addLayers('team/app', 'v1', contents);
    const [first, second] = layers;
    assert.ok(first !== undefined && second !== undefined);
    await read(fixture.get('team/app/manifests/v1'));
    await read(fixture.get(`team/app/blobs/${first}`));
    await eventually(() => assert.ok(fixture.pulls.has(second)));
    for (const [count, source] of [
      [1, 'registry'],
      [2, 'store'],
    ] as const) {
      await read(fixture.get(`team/app/blobs/${second}`));
      const origin = await originOf(fixture, second, count);
      assert.equal(origin?.[source], SIZE, source);
      assert.equal(fixture.reports.at(-1)?.mirrorRequest.source, 'store');
    }
  });
});
