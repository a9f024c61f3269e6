/** A rolling update: members that speak only the older minor version of the swarm protocol share with the others. */
import assert from 'node:assert/strict';
import { MIB } from '../../src/util/clock.ts';
import { blobBytes, bytesOf, forget, pullAtOnce, stock, type Wares } from '../support/crowd.ts';
import { shared } from '../support/fixture.ts';
import { MemberNode } from '../support/member-node.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { WeirCluster } from '../support/weir-cluster.ts';

requires('docker-registry')('a member that speaks swarm protocol 1.0 alone', () => {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    const cluster = stack.use(await WeirCluster.start(2, { registries: [registry.host] }));
    const { keyFile, bootstrap } = cluster;
    const old = stack.use(await MemberNode.start({ keyFile, bootstrap, protocolVersions: ['1.0'] }));
    await cluster.settled(3);
    return { registry, cluster, old };
  });

  it('gets content from members of the current version', async () => {
    const { registry, cluster, old } = lab();
    const wares = await stock(registry, 'versions/get', [6 * MIB, 1 * MIB]);
    await pullAtOnce(cluster.nodes, wares);
    await forget(registry);
    await pullBlobs(old, registry, wares);
    assert.equal(old.cluster.traffic.fromPeers, bytesOf(wares.image));
    assert.equal(await blobBytes(registry), 0);
    assert.deepEqual([...old.accused.keys()], []);
  });

  it('gives content to members of the current version', async () => {
    const { registry, cluster, old } = lab();
    const wares = await stock(registry, 'versions/give', [6 * MIB, 1 * MIB]);
    await pullBlobs(old, registry, wares);
    await forget(registry);
    await pullAtOnce(cluster.nodes, wares);
    assert.equal(await blobBytes(registry), 0);
  });

  it('shares with the others while all of them download', async () => {
    const { registry, cluster, old } = lab();
    const wares = await stock(registry, 'versions/share', [12 * MIB, 2 * MIB]);
    const before = old.cluster.traffic.toPeers;
    await Promise.all([pullAtOnce(cluster.nodes, wares), pullBlobs(old, registry, wares)]);
    const ratio = (await blobBytes(registry)) / bytesOf(wares.image);
    assert.ok(ratio < 2, `the registry sent ${ratio.toFixed(2)} images to three nodes`);
    assert.ok(old.cluster.traffic.toPeers > before);
  });
});

/** Pulls all blobs of the image as a runtime behind the member would, and checks their digests. */
async function pullBlobs(member: MemberNode, registry: Registry, wares: Wares): Promise<void> {
  const { repository, image } = wares;
  await Promise.all(
    image.blobs.map(async ({ digest, bytes }) => {
      const got = await member.pull({ registry: registry.host, repository, digest });
      assert.ok(got.equals(bytes), `the bytes of ${digest} are wrong`);
    }),
  );
}
