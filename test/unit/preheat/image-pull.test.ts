/** One image, pulled by the real parts of a node from a small registry. */
import assert from 'node:assert/strict';
import { HOUR, KIB, MIB } from '../../../src/util/clock.ts';
import { WeirError } from '../../../src/util/errors.ts';
import { MEDIA_TYPES } from '../../../src/oci/manifest.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { parseImageReference } from '../../../src/oci/reference.ts';
import { ImagePull, type ImagePullOptions } from '../../../src/preheat/image-pull.ts';
import type { ImageProgress } from '../../../src/protocol/preheat-messages.ts';
import { seededBytes } from '../../support/bytes.ts';
import { MirrorFixture, type MirrorFixtureOptions } from '../../support/mirror-fixture.ts';
import { ShiftedClock } from '../../support/shifted-clock.ts';

/** A clock whose sleeps take no time: attempts are counted instead. */
class Hasty extends ShiftedClock {
  sleeps = 0;
  override async sleep(): Promise<void> {
    this.sleeps += 1;
    await new Promise(setImmediate);
  }
}

interface Scene extends AsyncDisposable {
  readonly fixture: MirrorFixture;
  readonly clock: Hasty;
  readonly seen: ImageProgress[];
  pull(name: string, signal?: AbortSignal): Promise<ImageProgress>;
}

async function sceneOf(
  options: MirrorFixtureOptions = {},
  more: Partial<ImagePullOptions> = {},
): Promise<Scene> {
  const fixture = await MirrorFixture.start(options);
  const { manifests, blobs, store, registry } = fixture;
  const clock = new Hasty();
  const upstream = { checkReach: (): void => undefined };
  const images = new ImagePull({ manifests, blobs, store, providers: [store], upstream, clock, ...more });
  const seen: ImageProgress[] = [];
  return {
    fixture,
    clock,
    seen,
    pull: (name, signal = new AbortController().signal) =>
      images.run({
        image: parseImageReference(`${registry.host}/${name}`),
        platform: { os: 'linux', architecture: 'amd64' },
        keepUntil: Date.now() + HOUR,
        signal,
        onProgress: (progress) => void seen.push(progress),
      }),
    [Symbol.asyncDispose]: () => fixture[Symbol.asyncDispose](),
  };
}

/** An index with an image for arm64 and one for amd64. */
function addIndex({ fixture: { registry } }: Scene, name: string): Record<'arm64' | 'amd64', Digest> {
  const images = ['arm64', 'amd64'].map((architecture) => {
    const { manifest, bytes } = registry.addImage(name, architecture, seededBytes(1000, architecture));
    const platform = { os: 'linux', architecture };
    return { mediaType: MEDIA_TYPES.ociManifest, digest: manifest, size: bytes.length, platform };
  });
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: images };
  const digest = registry.addBlob(name, Buffer.from(JSON.stringify(index)));
  registry.repository(name).tags.set('v1', digest);
  return { arm64: images[0]?.digest as Digest, amd64: images[1]?.digest as Digest };
}

describe('ImagePull', () => {
  it('brings manifest, config and layers into the store, and keeps them until they are used', async () => {
    await using scene = await sceneOf();
    const { store, registry } = scene.fixture;
    const layers = [0, 1, 2, 3, 4, 5].map((index) => seededBytes(50 * KIB, `layer ${index}`));
    const { manifest, layers: digests } = registry.addLayers('a/b', 'v1', layers);
    const done = await scene.pull('a/b:v1');
    assert.deepEqual(done, { state: 'done', reason: '', presentBytes: 300 * KIB + 2, size: 300 * KIB + 2 });
    for (const digest of [manifest, ...digests]) assert.ok(store.lastUse.isKept(digest), digest);
    const parts = scene.seen.map(({ presentBytes }) => presentBytes);
    assert.deepEqual(
      parts,
      parts.toSorted((a, b) => a - b),
    );
    assert.equal((await scene.pull('a/b:v1')).state, 'present');
    assert.equal(registry.count(/blobs\//), 7);
    store.lastUse.used(digests[0] as Digest);
    assert.ok(!store.lastUse.isKept(digests[0] as Digest));
  });

  it('takes the image of its platform from an index, and skips an index without one', async () => {
    await using scene = await sceneOf();
    const { store, registry } = scene.fixture;
    const { arm64, amd64 } = addIndex(scene, 'a/multi');
    assert.equal((await scene.pull('a/multi:v1')).state, 'done');
    assert.ok(await store.stat(amd64));
    assert.equal(await store.stat(arm64), undefined);

    const only = { mediaType: MEDIA_TYPES.ociManifest, digest: arm64, size: 1 };
    const manifests = [{ ...only, platform: { os: 'linux', architecture: 'arm64' } }];
    const bytes = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests }),
    );
    registry.repository('a/multi').tags.set('arm', registry.addBlob('a/multi', bytes));
    const skipped = await scene.pull('a/multi:arm');
    assert.equal(skipped.state, 'other-platform');
    assert.match(skipped.reason, /no manifest for linux\/amd64 \(it has: linux\/arm64\)/);
  });

  it('takes half of the store at most', async () => {
    await using scene = await sceneOf({ quota: 4 * MIB });
    const { store, registry } = scene.fixture;
    registry.addImage('a/b', 'v1', seededBytes(MIB, 'first'));
    registry.addImage('a/b', 'v2', seededBytes(1.5 * MIB, 'second'));
    assert.equal((await scene.pull('a/b:v1')).state, 'done');
    const refused = await scene.pull('a/b:v2');
    assert.equal(refused.state, 'no-room');
    assert.match(refused.reason, /kept for others/);
    assert.equal(registry.count(/blobs\//), 2);
    for await (const { digest } of store.list()) store.lastUse.used(digest);
    assert.equal((await scene.pull('a/b:v2')).state, 'done');
  });

  it('fails with the reason, and tries again only if the registry did not decide', async () => {
    await using scene = await sceneOf({ retries: 0 });
    const { registry } = scene.fixture;
    const gone = await scene.pull('a/b:gone');
    assert.equal(gone.state, 'failed');
    assert.match(gone.reason, /^manifest_unknown: /);
    assert.equal(scene.clock.sleeps, 0);

    registry.addImage('a/b', 'v1', seededBytes(1000));
    registry.intercept = (_request, response) => {
      if (scene.clock.sleeps > 0) return false;
      response.writeHead(503).end();
      return true;
    };
    assert.equal((await scene.pull('a/b:v1')).state, 'done');
    assert.ok(scene.clock.sleeps >= 1);

    registry.intercept = (_request, response) => {
      response.writeHead(503).end();
      return true;
    };
    const down = await scene.pull('a/other:v1');
    assert.equal(down.state, 'failed');
    assert.match(down.reason, /^upstream_/);
  });

  it('goes to no place on this machine that is not configured', async () => {
    const upstream = {
      checkReach: (_registry: unknown, caller: unknown): void => {
        assert.equal(caller, 'anonymous');
        throw new WeirError('address_refused', 'that is this machine');
      },
    };
    await using scene = await sceneOf({}, { upstream });
    scene.fixture.registry.addImage('a/b', 'v1', seededBytes(1000));
    const { state, reason } = await scene.pull('a/b:v1');
    assert.deepEqual([state, reason], ['failed', 'address_refused: that is this machine']);
    assert.equal(scene.fixture.registry.count(/./), 0);
  });

  it('ends with the order', async () => {
    await using scene = await sceneOf();
    const { registry } = scene.fixture;
    registry.addImage('a/b', 'v1', seededBytes(1000));
    const over = new AbortController();
    registry.intercept = ({ url = '' }) => {
      if (!url.includes('/blobs/')) return false;
      over.abort(new WeirError('aborted', 'the order has expired'));
      return true; // and no answer
    };
    const { state, reason } = await scene.pull('a/b:v1', over.signal);
    assert.deepEqual([state, reason], ['failed', 'aborted: the order has expired']);
  });
});
