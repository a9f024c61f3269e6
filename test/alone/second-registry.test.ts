/** Content that two registries hold leaves each of them once; readers beyond a limit wait for their turn. */
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
/** More blobs than are passed through, or pulled, at one time. */
const READERS = 40;

requires('docker-registry')('content that the nodes have from another registry', () => {
  it('leaves the second registry once for all nodes that pull it from there at the same time', async () => {
    await using first = await Registry.start();
    await using second = await Registry.start({ storage: first.storage });
    const wares = await stock(first, 'mirrored/app', [30 * MIB, 9 * MIB, 200 * KIB]);
    await using cluster = await WeirCluster.start(NODES, { registries: [first.host, second.host] });
    await pullAtOnce(cluster.nodes, wares);
    await forget(second);

    const fromSecond = { ...wares, name: wares.name.replace(first.host, second.host) };
    await pullAtOnce(cluster.nodes, fromSecond);
    const sent = (await blobBytes(second)) / bytesOf(wares.image);
    assert.ok(sent > 0, 'the second registry was asked for nothing, but only it can admit its callers');
    assert.ok(sent <= ONCE, `${sent.toFixed(2)} images left it; ${await cluster.account()}`);

    // Content that it has delivered counts for it, too: nothing more leaves it.
    await forget(second);
    await pullAtOnce(cluster.nodes, fromSecond);
    assert.equal(await blobBytes(second), 0);
  });
});

requires('docker-registry')('readers that have no other source', () => {
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
      // The path names the registry, as podman writes it: such a client cannot ask anybody else.
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
