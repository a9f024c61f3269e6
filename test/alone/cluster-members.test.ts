/** Membership: leaving, coming back, keys, bans, no cluster at all. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { MIB } from '../../src/util/clock.ts';
import type { Address } from '../../src/protocol/member.ts';
import { blobBytes, bytesOf, forget, pullAtOnce, stock } from '../support/crowd.ts';
import { shared } from '../support/fixture.ts';
import { accepts } from '../support/ports.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { knows, listening, pullThrough, WeirCluster } from '../support/weir-cluster.ts';
import { WeirNode } from '../support/weir.ts';

/** Slow enough for something to happen in mid-pull. */
const LINK = '4MiB/s';

requires('docker-registry')('members', () => {
  const lab = shared(async (stack) => ({ registry: stack.use(await Registry.start()) }));

  it('a member that leaves in mid-pull fails no pull of the others', async () => {
    const { registry } = lab();
    const wares = await stock(registry, 'members/leave', [16 * MIB, 4 * MIB]);
    const node = () => ({ settings: { 'max-download': LINK, 'max-upload': LINK } });
    await using cluster = await WeirCluster.start(5, { node, registries: [registry.host] });
    const leaver = cluster.node(2);
    const others = cluster.nodes.filter((each) => each !== leaver);
    const { signal, onProgress } = abortAt(4 * MIB);
    const left = pullThrough(leaver, wares.name, { signal, onProgress }).then(
      () => assert.fail('the pull should have been aborted'),
      () => leaver.terminate(),
    );
    await pullAtOnce(others, wares);
    const { code } = await left;
    assert.equal(code, 0);
    await cluster.settled(others.length, others);
  });

  it('a member that is started again keeps its peer ID, and goes on with the bytes that it had', async () => {
    const { registry } = lab();
    const wares = await stock(registry, 'members/restart', [16 * MIB]);
    const node = (index: number) => ({ settings: index === 0 ? {} : { 'max-download': LINK } });
    await using cluster = await WeirCluster.start(2, { node, registries: [registry.host] });
    const [first, again] = [cluster.node(0), cluster.node(1)];
    await pullAtOnce([first], wares);
    await forget(registry);
    const { peer } = await again.status();
    const stop = new AbortController();
    const given = pullThrough(again, wares.name, { signal: stop.signal });
    await arrived(again, 6 * MIB);
    stop.abort(new Error('the runtime gives up'));
    await assert.rejects(given);
    await again.restart();
    assert.equal((await again.status()).peer, peer);
    await cluster.settled();
    await pullAtOnce([again], wares);
    const { totals } = await again.status();
    const most = bytesOf(wares.image) - 4 * MIB;
    assert.ok(totals.from_peers < most, `${totals.from_peers} bytes came from peers after the restart`);
    assert.equal(await blobBytes(registry), 0);
  });

  it('a node with cluster.mode off is a mirror and a cache, and has no peers', async () => {
    const { registry } = lab();
    const wares = await stock(registry, 'members/off', [2 * MIB]);
    await using cluster = await WeirCluster.start(2, { registries: [registry.host] });
    const [off] = await cluster.add(1, { settings: { 'cluster.mode': 'off' } });
    assert.ok(off !== undefined);
    await pullAtOnce(cluster.nodes.slice(0, 2), wares);
    await forget(registry);
    await pullAtOnce([off], wares);
    assert.equal(await blobBytes(registry), bytesOf(wares.image));
    assert.deepEqual(listening(off, 'cluster listening'), []);
    const status = await off.status();
    assert.deepEqual([status.cluster.mode, status.cluster.members], ['off', 1]);
    await cluster.settled(2, cluster.nodes.slice(0, 2));
  });

  it('a node without a key listens on loopback alone', async () => {
    const everywhere = { 'cluster.listen': '0.0.0.0:0', 'transfer.listen': '0.0.0.0:0' };
    await using node = await WeirNode.start({ settings: everywhere });
    const control = listening(node, 'cluster listening').map((address) => String(address).split('/'));
    const data = listening(node, 'transfer listening') as readonly Address[];
    const bound = [
      ...control.map(([, , host = '', , port]) => ({ host, port: Number(port) })),
      ...data.map(({ host, port }) => ({ host, port })),
    ];
    assert.ok(bound.length >= 2);
    for (const { host, port } of bound) {
      assert.equal(host, '127.0.0.1');
      assert.ok(await accepts(port, host));
      for (const other of outwardAddresses()) assert.ok(!(await accepts(port, other)), `${other}:${port}`);
    }
  });

  it('members with different keys stay apart, and each cluster pulls for itself', async () => {
    const { registry } = lab();
    const wares = await stock(registry, 'members/keys', [4 * MIB, 1 * MIB]);
    await using ours = await WeirCluster.start(2, {
      registries: [registry.host],
      key: 'the key of the first cluster of the two',
    });
    const bootstrap = { 'cluster.bootstrap': ours.bootstrap };
    await using theirs = await WeirCluster.start(2, {
      registries: [registry.host],
      key: 'the key of the second cluster of the two',
      node: (index) => ({ settings: index === 0 ? bootstrap : {} }),
    });
    const all = [...ours.nodes, ...theirs.nodes];
    await pullAtOnce(ours.nodes, wares);
    assertAbout(await blobBytes(registry), bytesOf(wares.image));
    await forget(registry);
    await pullAtOnce(theirs.nodes, wares);
    assertAbout(await blobBytes(registry), bytesOf(wares.image));
    for (const node of all) assert.equal((await node.status()).cluster.members, 2);
  });

  it('a member that the others ban gets nothing from them, and pulls from the registry', async () => {
    const { registry } = lab();
    const wares = await stock(registry, 'members/banned', [4 * MIB]);
    await using dir = await TempDir.create('banned');
    const keyFile = dir.join('key');
    await writeFile(keyFile, 'the key of a cluster that is under test');
    const own = { 'cluster.key-file': keyFile, 'cluster.mdns': 'off' };
    await using banned = await WeirNode.start({ settings: own });
    const { peer } = await banned.status();
    await using cluster = await WeirCluster.start(2, {
      registries: [registry.host],
      node: () => ({ settings: { 'cluster.banned': peer } }),
    });
    assert.equal(await readFile(cluster.keyFile, 'utf8'), await readFile(keyFile, 'utf8'));
    await pullAtOnce(cluster.nodes, wares);
    await forget(registry);
    await banned.restart({ settings: { ...own, 'cluster.bootstrap': cluster.bootstrap } });
    await pullAtOnce([banned], wares);
    assert.equal((await banned.status()).totals.from_peers, 0);
    assert.equal(await blobBytes(registry), bytesOf(wares.image));
    await knows(banned, 1);
    for (const node of cluster.nodes) assert.equal((await node.status()).cluster.members, 2);
  });
});

/** Aborts once this many bytes of blobs have arrived. */
function abortAt(bytes: number) {
  const stop = new AbortController();
  const received = new Map<string, number>();
  return {
    signal: stop.signal,
    onProgress: (event: { kind: string; blob?: { digest: string }; received?: number }): void => {
      if (event.blob === undefined || event.received === undefined) return;
      received.set(event.blob.digest, event.received);
      const sum = received.values().reduce((all, each) => all + each, 0);
      if (sum >= bytes) stop.abort(new Error('the runtime gives up'));
    },
  };
}

/** Waits until this many bytes of blobs have arrived at the node. */
async function arrived(node: WeirNode, bytes: number): Promise<void> {
  for (;;) {
    const { transfers } = await node.status();
    const present = transfers.reduce((sum, transfer) => sum + transfer.present_bytes, 0);
    if (present >= bytes) return;
    await delay(50);
  }
}

function outwardAddresses(): readonly string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses = []) => addresses)
    .filter(({ internal, family }) => !internal && family === 'IPv4')
    .map(({ address }) => address);
}

/** Asserts that the registry sent the image once, or at most a fifth more. */
function assertAbout(bytes: number, image: number): void {
  assert.ok(bytes >= image && bytes <= 1.2 * image, `${bytes} bytes for an image of ${image}`);
}
