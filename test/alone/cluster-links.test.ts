/** How chunks travel between nodes: within zones, under rate limits, without TLS. */
import assert from 'node:assert/strict';
import { MIB, SECOND } from '../../src/util/clock.ts';
import { blobBytes, bytesOf, forget, pullAtOnce, stock, type Wares } from '../support/crowd.ts';
import { shared } from '../support/fixture.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { WeirCluster } from '../support/weir-cluster.ts';
import type { WeirNode } from '../support/weir.ts';

const RATE = 2 * MIB;
/** A limit holds over time: a burst of 50 ms, and the bytes in the buffers of sockets, may be ahead of it. */
const MARGIN = 1.3;

requires('docker-registry')('between nodes', () => {
  const lab = shared(async (stack) => ({ registry: stack.use(await Registry.start()) }));

  it('more bytes stay within a zone than by chance', async () => {
    const { registry } = lab();
    const node = (index: number) => ({ env: { WEIR_NODE_ZONE: `zone-${index % 3}` } });
    await using cluster = await WeirCluster.start(9, { node, registries: [registry.host] });
    const { zones } = (await cluster.node(0).status()).cluster;
    assert.deepEqual(zones, { 'zone-0': 3, 'zone-1': 3, 'zone-2': 3 });
    const wares = await stock(registry, 'links/zones', [12 * MIB, 4 * MIB]);
    // If all nodes begin at once, a chunk often has only one holder, in any zone.
    const [first, last] = [cluster.nodes.slice(0, 6), cluster.nodes.slice(6)];
    await pullAtOnce(first, wares);
    await pullAtOnce(last, wares);
    const bytes = { same: 0, other: 0 };
    for (const late of last) {
      const metrics = await late.metrics();
      for (const zone of ['same', 'other'] as const)
        bytes[zone] += metrics.sum('weir_peer_bytes_total', { direction: 'in', zone });
    }
    const shares = `${bytes.same / MIB} MiB within zones, ${bytes.other / MIB} between them`;
    // Of the 6 holders, 2 are in the same zone: by chance, a third of the bytes would come from there.
    assert.ok(bytes.same / (bytes.same + bytes.other) > 0.5, shares);
  });

  it('a node sends no more than --max-upload', async () => {
    const { registry } = lab();
    const wares = await stock(registry, 'links/upload', [8 * MIB]);
    const node = (index: number) => ({ settings: index === 0 ? { 'max-upload': String(RATE) } : {} });
    await using cluster = await WeirCluster.start(2, { node, registries: [registry.host] });
    await assertLimited(registry, cluster, wares);
  });

  it('a node fetches no more from peers than --max-download', async () => {
    const { registry } = lab();
    const wares = await stock(registry, 'links/download', [8 * MIB]);
    const node = (index: number) => ({ settings: index === 0 ? {} : { 'max-download': String(RATE) } });
    await using cluster = await WeirCluster.start(2, { node, registries: [registry.host] });
    await assertLimited(registry, cluster, wares);
  });

  it('chunks travel without TLS if it is turned off', async () => {
    const { registry } = lab();
    const wares = await stock(registry, 'links/plain', [6 * MIB, 1 * MIB]);
    await using cluster = await WeirCluster.start(3, {
      registries: [registry.host],
      node: () => ({ settings: { 'transfer.tls': 'off' } }),
    });
    await pullAtOnce([cluster.node(0)], wares);
    await forget(registry);
    await pullAtOnce(cluster.nodes.slice(1), wares);
    assert.equal(await blobBytes(registry), 0);
    for (const node of cluster.nodes) assert.match(node.log, /"tls":false,"msg":"transfer listening"/);
  });
});

/** The second node pulls an image that the first one has, all of it from there, at no more than the rate. */
async function assertLimited(registry: Registry, cluster: WeirCluster, wares: Wares): Promise<void> {
  const [from, to] = [cluster.node(0), cluster.node(1)];
  await pullAtOnce([from], wares);
  await forget(registry);
  const began = performance.now();
  await pullAtOnce([to], wares);
  const seconds = (performance.now() - began) / SECOND;
  const bytes = await fromPeers(to);
  assert.ok(bytes <= RATE * seconds * MARGIN, `${bytes} bytes in ${seconds.toFixed(1)} s`);
  // The limit is no reason to go to the registry.
  // The manifest is had from the member that owns it, which may be this node.
  const [blobs, manifest] = [bytesOf(wares.image), wares.image.size];
  assert.ok([blobs, blobs + manifest].includes(bytes), `${bytes} bytes for ${blobs}`);
  assert.equal(await blobBytes(registry), 0);
}

async function fromPeers(node: WeirNode): Promise<number> {
  return (await node.metrics()).sum('weir_peer_bytes_total', { direction: 'in' });
}
