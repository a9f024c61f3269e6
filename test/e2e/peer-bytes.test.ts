/** What members count as sent is what they count as received, manifests included. */
import assert from 'node:assert/strict';
import { KIB } from '../../src/util/clock.ts';
import { eventually } from '../support/eventually.ts';
import { buildImage } from '../support/images.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { pullThrough, WeirCluster } from '../support/weir-cluster.ts';

requires('docker-registry')('bytes between members', () => {
  it('are the same in the metrics of both sides', async () => {
    await using registry = await Registry.start();
    const image = await buildImage({ seed: 'peer bytes', layers: [100 * KIB, 300 * KIB] });
    await push(registry.url, 'peer/bytes', 'v1', image);
    await using cluster = await WeirCluster.start(3, { registries: [registry.host] });
    for (const node of cluster.nodes) await pullThrough(node, `${registry.host}/peer/bytes:v1`);
    await eventually(async () => {
      const [received, sent] = await Promise.all(
        ['in', 'out'].map((direction) => cluster.metric('weir_peer_bytes_total', { direction })),
      );
      assert.equal(received, sent);
      assert.ok((received ?? 0) >= image.size, `${received} bytes, the manifest has ${image.size}`);
    });
  });
});
