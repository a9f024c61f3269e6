/** A crowd: a dozen nodes that pull at once share what they get. */
import assert from 'node:assert/strict';
import { KIB, MIB } from '../../src/util/clock.ts';
import { ACCEPT_MANIFESTS } from '../../src/oci/manifest.ts';
import { request } from '../support/client.ts';
import { blobBytes, bytesOf, forget, pullAtOnce, stock } from '../support/crowd.ts';
import { shared } from '../support/fixture.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { WeirCluster } from '../support/weir-cluster.ts';
import type { WeirNode, WeirOptions } from '../support/weir.ts';

const NODES = 12;
/** Slow links: the nodes wait for them, not for the cores of this machine, which all nodes share. */
const LINK = '6MiB/s';
/**
 * Registry bytes over image bytes; without sharing it would be 12. The aim is 1, and is reached if each node has a core.
 * On two cores that all share, answers come seconds late, and a node goes to the registry instead of stalling.
 */
const MOST_FROM_REGISTRY = 4;
/** The same ratio for a late joiner: 0 if each node has a core. */
const MOST_FOR_JOINER = 0.25;
/** Requests of all nodes by tag, or for one manifest by digest: from the owner and its backup owners. */
const MOST_REQUESTS = 3;

requires('docker-registry')(`${NODES} nodes`, function () {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    const mortal = stack.use(await Registry.start());
    const node = (): WeirOptions => ({ settings: { 'max-upload': LINK, 'max-download': LINK } });
    const registries = [registry.host, mortal.host];
    const cluster = stack.use(await WeirCluster.start(NODES, { node, registries }));
    return { registry, mortal, cluster };
  });
  const crowd = (): readonly WeirNode[] => lab().cluster.nodes.slice(0, NODES);

  it('share an image that all of them pull at once into cold stores', async () => {
    const { registry, cluster } = lab();
    const wares = await stock(registry, 'crowd/cold', [12 * MIB, 6 * MIB, 2 * MIB, 200 * KIB]);
    await pullAtOnce(crowd(), wares);
    await assertShared(cluster, await blobBytes(registry), bytesOf(wares.image));
  });

  it('share a layer that is common to two images that they pull at once', async () => {
    const { registry, cluster } = lab();
    const one = await stock(registry, 'crowd/one', [10 * MIB, 2 * MIB], 'sisters');
    const other = await stock(registry, 'crowd/other', [10 * MIB, 3 * MIB], 'sisters');
    assert.equal(one.image.blobs[1]?.digest, other.image.blobs[1]?.digest);
    await Promise.all([pullAtOnce(crowd(), one), pullAtOnce(crowd(), other)]);
    await assertShared(cluster, await blobBytes(registry), bytesOf(one.image, other.image));
  });

  it('give a late joiner nearly all of an image that they have', async () => {
    const { registry, cluster } = lab();
    const wares = await stock(registry, 'crowd/late', [10 * MIB, 3 * MIB, 100 * KIB]);
    await pullAtOnce(crowd(), wares);
    await forget(registry);
    const late = await cluster.add();
    await cluster.settled(NODES + 1, late);
    await pullAtOnce(late, wares);
    const share = (await blobBytes(registry)) / bytesOf(wares.image);
    assert.ok(share <= MOST_FOR_JOINER, `${share} of the image came from the registry`);
  });

  it('send nothing to a node that pulls an image for the second time', async () => {
    const { registry, cluster } = lab();
    const wares = await stock(registry, 'crowd/twice', [4 * MIB, 100 * KIB]);
    const [node] = crowd();
    assert.ok(node !== undefined);
    await pullAtOnce([node], wares);
    await forget(registry);
    const before = await cluster.metric('weir_peer_bytes_total');
    await pullAtOnce([node], wares);
    assert.equal(await blobBytes(registry), 0);
    assert.equal(await cluster.metric('weir_peer_bytes_total'), before);
  });

  it(`cost the registry at most ${MOST_REQUESTS} requests if all ask for one tag or one manifest at once`, async () => {
    const { registry } = lab();
    const { repository, image } = await stock(registry, 'crowd/tag', [1000]);
    const ask = (method: string, reference: string) =>
      Promise.all(
        crowd().map((node) =>
          request(node.urlOf(registry.host, `${repository}/manifests/${reference}`), {
            method,
            headers: { accept: ACCEPT_MANIFESTS },
          }),
        ),
      );
    for (const { status, headers } of await ask('HEAD', 'v1')) {
      assert.equal(status, 200);
      assert.equal(headers.get('docker-content-digest'), image.digest);
    }
    for (const { status, digest } of await ask('GET', image.digest)) {
      assert.equal(status, 200);
      assert.equal(digest, image.digest);
    }
    await registry.accessLog.settled();
    const byTag = registry.accessLog.matching(`/${repository}/manifests/v1`);
    const byDigest = registry.accessLog.matching(`/${repository}/manifests/sha256:`);
    assert.ok(byTag.length <= MOST_REQUESTS, `${byTag.length} requests by tag`);
    assert.ok(byDigest.length <= MOST_REQUESTS, `${byDigest.length} requests by digest`);
  });

  it('resolve and pull a tag that only three of them know when the registry stops', async () => {
    const { mortal } = lab();
    const wares = await stock(mortal, 'crowd/offline', [6 * MIB, 100 * KIB]);
    await pullAtOnce(crowd().slice(0, 3), wares);
    await mortal.stop();
    await pullAtOnce(crowd().slice(3, 6), wares);
  });
});

async function assertShared(cluster: WeirCluster, fromRegistry: number, image: number): Promise<void> {
  const ratio = fromRegistry / image;
  const told = `the registry sent ${ratio.toFixed(3)} times the content that the nodes pulled`;
  assert.ok(ratio <= MOST_FROM_REGISTRY, `${told}: ${await cluster.account()}`);
  assert.ok(ratio >= 0.99, `${told}: less than once`);
}
