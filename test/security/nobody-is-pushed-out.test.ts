/** A registry's mere words must not make a node drop content of other registries, or its knowledge of them. */
import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { MIB } from '../../src/util/clock.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { ATTACK_NEEDS, AttackScene, PUBLIC } from '../support/attack-scene.ts';
import { request } from '../support/client.ts';
import { randomBytes } from '../support/images.ts';
import { requires } from '../support/requires.ts';

const QUOTA = 128 * MIB;
/** Descriptors that a manifest of 4 MiB has room for, about. */
const DESCRIPTORS = 30_000;
const MANIFESTS = 4;

requires(...ATTACK_NEEDS)('a registry that nobody knows', () => {
  it('neither evicts blobs nor keeps others from being stored by the sizes that it announces', async () => {
    const settings = { 'store.quota': String(QUOTA), 'pull.linger': '0s' };
    await using scene = await AttackScene.start({ node: () => ({ settings }) });
    const { evil, image, openImage, registry } = scene;
    await scene.victimPulls();
    const stored = async (): Promise<number> => (await scene.node().metrics()).sum('weir_store_bytes');
    const before = await stored();
    assert.ok(before > 40 * MIB);

    const isAsked = Array.from({ length: 3 }, () => Promise.withResolvers<void>());
    let asked = 0;
    evil.handler = (_, response) => {
      response.writeHead(200, { 'content-length': QUOTA - 8 * MIB }).flushHeaders(); // and no byte
      isAsked[asked++]?.resolve();
    };
    const gone = new AbortController();
    const waiting = [...isAsked.keys()].map((i) =>
      scene
        .asAttacker(`x/y/blobs/${digestOf(Buffer.from(`${i}`))}`, scene.node(), { signal: gone.signal })
        .catch(() => undefined),
    );
    await Promise.all(isAsked.map(({ promise }) => promise));
    // A blob that others pull meanwhile is stored, and served from the store.
    const [, layer] = openImage.blobs;
    assert.ok(layer !== undefined);
    const url = scene.node().urlOf(registry.host, `${PUBLIC}/blobs/${layer.digest}`);
    assert.equal((await request(url)).digest, layer.digest);
    assert.equal((await request(url)).headers.get('weir-source'), 'store');
    gone.abort();
    await Promise.all(waiting);
    assert.equal(await stored(), before + layer.size, 'something was evicted');
    const again = await scene.asVictim(`blobs/${image.blobs[2]?.digest}`);
    assert.equal(again.headers.get('weir-source'), 'store');
  });

  it('cannot fill the catalog by the list of a long manifest', async () => {
    await using scene = await AttackScene.start({ layer: 2 * MIB });
    const { evil } = scene;
    await scene.victimPulls();
    const catalog = async (): Promise<number> => {
      const path = `${scene.node().dataFolder}/catalog.db`;
      const sizes = await Promise.all([path, `${path}-wal`].map(async (each) => (await stat(each)).size));
      return sizes.reduce((sum, size) => sum + size, 0);
    };
    const before = await catalog();
    for (let i = 0; i < MANIFESTS; i++) {
      const manifest = manyLayers(`${i}`);
      evil.handler = (_, response) => {
        response.writeHead(200, {
          'content-type': MEDIA_TYPES.ociManifest,
          'content-length': manifest.length,
        });
        response.end(manifest);
      };
      const answer = await scene.asAttacker(`x/y/manifests/${digestOf(manifest)}`);
      assert.equal(answer.status, 200, 'a long manifest is served as it is');
      assert.equal(answer.digest, digestOf(manifest));
    }
    const grown = (await catalog()) - before;
    assert.ok(grown < 1 * MIB, `the catalog has grown by ${grown} bytes`);
  });
});

function manyLayers(seed: string): Buffer {
  const random = randomBytes(seed, 32 * DESCRIPTORS);
  const layers = Array.from({ length: DESCRIPTORS }, (_, i) => ({
    digest: `sha256:${random.subarray(32 * i, 32 * (i + 1)).toString('hex')}`,
    size: 1,
  }));
  const [config] = layers;
  return Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers }));
}
