/** One content in two registries, and more readers than there are places: each still costs what it has to. */
import assert from 'node:assert/strict';
import { KIB, MIB } from '../../src/util/clock.ts';
import { request } from '../support/client.ts';
import { blobBytes, bytesOf, forget, pullAtOnce, stock } from '../support/crowd.ts';
import { buildImage } from '../support/images.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { WeirNode } from '../support/weir.ts';
import { WeirCluster } from '../support/weir-cluster.ts';

const NODES = 4;
/** Registry bytes over image bytes; four would be no sharing. */
const ONCE = 1.15;
/** More than what is passed through, or pulled, at one time. */
const READERS = 40;

requires('docker-registry')('content that the nodes have from another registry', () => {
  it('leaves the second registry once, for all who pull it from there at the same time', async () => {
    await using first = await Registry.start();
    await using second = await Registry.start({ storage: first.storage });
    const wares = await stock(first, 'mirrored/app', [30 * MIB, 9 * MIB, 200 * KIB]);
    await using cluster = await WeirCluster.start(NODES, { registries: [first.host, second.host] });
    await pullAtOnce(cluster.nodes, wares);
    await forget(second);

    const elsewhere = { ...wares, name: wares.name.replace(first.host, second.host) };
    await pullAtOnce(cluster.nodes, elsewhere);
    const sent = (await blobBytes(second)) / bytesOf(wares.image);
    assert.ok(sent > 0, 'nothing was asked of the second registry: its word is needed for its callers');
    assert.ok(sent <= ONCE, `${sent.toFixed(2)} images left it; ${await cluster.account()}`);

    // What it has delivered now counts for it, too: nothing more leaves it.
    await forget(second);
    await pullAtOnce(cluster.nodes, elsewhere);
    assert.equal(await blobBytes(second), 0);
  });
});

requires('docker-registry')('readers that cannot go elsewhere', () => {
  for (const [what, settings] of [
    ['that ask for more blobs than are pulled at one time', { 'pull.max-concurrent': '2' }],
    ['that ask for more blobs than are passed through a store without room', { 'store.quota': '1MiB' }],
  ] as const) {
    it(`${what} wait for their turn`, async () => {
      await using registry = await Registry.start();
      const layers = Array.from({ length: READERS }, () => 1.5 * MIB);
      const image = await buildImage({ seed: what, layers });
      await push(registry.url, 'many/app', 'v1', image);
      await using node = await WeirNode.start({ settings });
      // The registry stands in the path, as podman has it: such a client has nobody else to ask.
      const answers = await Promise.all(
        image.blobs.map(({ digest }) =>
          request(`${node.url}/v2/${registry.host}/many/app/blobs/${digest}`).then((answer) => ({
            asked: digest,
            answer,
          })),
        ),
      );
      for (const { asked, answer } of answers) {
        assert.equal(answer.status, 200, answer.body.toString().slice(0, 200));
        assert.equal(answer.broken, undefined);
        assert.equal(answer.digest, asked);
      }
      assert.ok(answers.length > READERS, 'all layers and the configuration');
    });
  }
});
