/** Layers that are fetched before the runtime asks for them. */
import assert from 'node:assert/strict';
import { KIB, MIB, MINUTE } from '../../../src/util/clock.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { seededBytes } from '../../support/bytes.ts';
import { eventually } from '../../support/eventually.ts';
import { MirrorFixture, type MirrorFixtureOptions } from '../../support/mirror-fixture.ts';
import { VirtualClock } from '../network/virtual-clock.ts';

interface Scene extends AsyncDisposable {
  readonly fixture: MirrorFixture;
  readonly layers: readonly Digest[];
  /** Reads a layer whole, as a runtime. */
  read(index: number): Promise<void>;
  /** Layers that the registry was asked for. */
  readonly asked: () => readonly number[];
}

/** A runtime that has read the manifest of an image. */
async function sceneOf(sizes: readonly number[], options: MirrorFixtureOptions = {}): Promise<Scene> {
  const fixture = await MirrorFixture.start({ seesRuntime: true, linger: MINUTE, ...options });
  const contents = sizes.map((size, index) => seededBytes(size, `layer ${index}`));
  const { manifest, layers } = fixture.registry.addLayers('a/b', 'v1', contents);
  assert.equal((await fixture.get(`a/b/manifests/${manifest}`)).status, 200);
  return {
    fixture,
    layers,
    async read(index) {
      const answer = await fixture.get(`a/b/blobs/${layers[index]}`);
      assert.equal(answer.status, 200);
      assert.ok(contents[index]?.equals(Buffer.from(await answer.arrayBuffer())));
    },
    asked: () =>
      layers.flatMap((digest, index) =>
        Array.from({ length: fixture.registry.count(new RegExp(`blobs/${digest}`)) }, () => index),
      ),
    [Symbol.asyncDispose]: () => fixture[Symbol.asyncDispose](),
  };
}

const small = (count: number): readonly number[] => Array.from({ length: count }, () => 50 * KIB);

/** Waits until the layers are in the store. */
async function arrived({ fixture, layers }: Scene, ...indices: readonly number[]): Promise<void> {
  await eventually(async () => {
    for (const index of indices) assert.ok(await fixture.store.stat(layers[index] as Digest), `${index}`);
  });
}

describe('Prefetch', () => {
  it('fetches the layers after the one that was asked for, each once', async () => {
    await using scene = await sceneOf(small(12));
    await scene.read(0);
    await arrived(scene, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
    for (let index = 1; index < 12; index++) await scene.read(index);
    assert.deepEqual(scene.asked(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    const used = { bytes: 50 * KIB, outcome: 'used' };
    assert.deepEqual(
      scene.fixture.prefetched,
      Array.from({ length: 11 }, () => used),
    );
  });

  it('fetches none before it, which the runtime may have', async () => {
    await using scene = await sceneOf(small(6));
    await scene.read(3);
    await arrived(scene, 4, 5);
    assert.deepEqual(scene.asked(), [3, 4, 5]);
  });

  it('fetches nothing if the content of the runtime cannot be seen', async () => {
    await using scene = await sceneOf(small(3), { seesRuntime: false });
    await scene.read(0);
    await scene.read(1);
    await eventually(() => assert.equal(scene.fixture.blobs.inFlight, 0));
    assert.deepEqual(scene.asked(), [0, 1]);
    assert.deepEqual(scene.fixture.prefetched, []);
  });

  it('leaves the link to the layers that the runtime reads, if these are large', async () => {
    await using scene = await sceneOf([10 * MIB, 10 * MIB, 50 * KIB]);
    await scene.read(0);
    await eventually(() => assert.equal(scene.fixture.blobs.inFlight, 0));
    assert.deepEqual(scene.asked(), [0]);
  });

  it('keeps to its part of the store', async () => {
    await using scene = await sceneOf(small(8), { maxUnused: 120 * KIB });
    await scene.read(0);
    await arrived(scene, 1, 2);
    await eventually(() => assert.equal(scene.fixture.blobs.inFlight, 0));
    assert.deepEqual(scene.asked(), [0, 1, 2]);
    await scene.read(1);
    await arrived(scene, 3);
    assert.deepEqual(scene.asked(), [0, 1, 2, 3]);
  });

  it('lets the runtime join a layer that is on its way', async () => {
    await using scene = await sceneOf(small(2));
    const { registry } = scene.fixture;
    const began = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    registry.intercept = (request, response) => {
      if (request.url?.includes(scene.layers[1] as string) !== true) return false;
      began.resolve();
      void go.promise.then(() => {
        const bytes = registry.repository('a/b').blobs.get(scene.layers[1] as Digest);
        response.writeHead(200, { 'Content-Length': 50 * KIB }).end(bytes);
      });
      return true;
    };
    await scene.read(0);
    await began.promise;
    const reading = scene.read(1);
    go.resolve();
    await reading;
    assert.deepEqual(scene.asked(), [0, 1]);
    assert.deepEqual(scene.fixture.prefetched, [{ bytes: 50 * KIB, outcome: 'used' }]);
  });

  it('stops when the runtime has gone', async () => {
    await using scene = await sceneOf(small(2), { linger: 1 });
    const gone = Promise.withResolvers<void>();
    scene.fixture.registry.intercept = (request, response) => {
      if (request.url?.includes(scene.layers[1] as string) !== true) return false;
      response.once('close', () => gone.resolve());
      return true; // nothing comes
    };
    await scene.read(0);
    await gone.promise;
    await eventually(() => assert.equal(scene.fixture.blobs.inFlight, 0));
    assert.deepEqual(scene.fixture.prefetched, []);
  });

  it('asks in the name of the caller that asked for the layer before', async () => {
    await using scene = await sceneOf(small(2));
    const { registry, url } = scene.fixture;
    registry.repository('a/b').authorization = 'Basic bWU6c2VjcmV0';
    const refused = await scene.fixture.get(`a/b/blobs/${scene.layers[0]}`);
    assert.equal(refused.status, 401);
    const headers = { authorization: 'Basic bWU6c2VjcmV0' };
    const path = `${url}/v2/a/b/blobs/${scene.layers[0]}?ns=${registry.host}`;
    assert.equal((await fetch(path, { headers })).status, 200);
    await arrived(scene, 1);
    const ahead = registry.server.requests.filter(({ url: at }) => at?.includes(scene.layers[1] as string));
    assert.deepEqual(
      ahead.map((request) => request.headers['authorization']),
      [headers.authorization],
    );
  });

  it('counts layers that nobody asks for, and stops for an hour if they are many', async () => {
    const clock = new VirtualClock();
    await using scene = await sceneOf(small(24), { clock, linger: 100 * MINUTE });
    const wait = async (milliseconds: number): Promise<void> => {
      await eventually(() => assert.equal(scene.fixture.blobs.inFlight, 0));
      await clock.advance(milliseconds);
    };
    await scene.read(0);
    await arrived(scene, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
    await wait(11 * MINUTE);
    await eventually(() => assert.equal(scene.fixture.prefetched.length, 23));
    assert.ok(scene.fixture.prefetched.every(({ outcome }) => outcome === 'vain'));

    const more = scene.fixture.registry.addLayers('a/b', 'v2', [
      seededBytes(KIB, 'one'),
      seededBytes(KIB, 'two'),
    ]);
    const readMore = async (): Promise<void> => {
      await scene.fixture.get(`a/b/manifests/${more.manifest}`);
      await scene.fixture.get(`a/b/blobs/${more.layers[0]}`);
    };
    await readMore();
    await wait(0);
    assert.equal(scene.fixture.registry.count(new RegExp(`${more.layers[1]}`)), 0);
    await wait(61 * MINUTE);
    await readMore();
    await eventually(() => assert.equal(scene.fixture.registry.count(new RegExp(`${more.layers[1]}`)), 1));
  });
});
