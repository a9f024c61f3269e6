/** Byte workers of a real node: any number of them, and one that ends while it moves content. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { get } from 'node:http';
import { KIB, MIB } from '../../src/util/clock.ts';
import { shared } from '../support/fixture.ts';
import { GeneratedBlob } from '../support/generated-blob.ts';
import { buildImage, type TestImage } from '../support/images.ts';
import { memoryOf } from '../support/process-memory.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { WeirNode } from '../support/weir.ts';
import { pullThrough, WeirCluster } from '../support/weir-cluster.ts';

const END_WORKER: string = new URL('../support/end-worker.ts', import.meta.url).pathname;
const MANY = 1000;
/** Two buffers of 256 KiB, and the other costs of a connection. */
const MOST_PER_READER = 700 * KIB;

requires('docker-registry')('byte workers', () => {
  const lab = shared(async (stack) => ({ registry: stack.use(await Registry.start()) }));

  const pushed = async (name: string): Promise<TestImage> => {
    const { registry } = lab();
    const image = await buildImage({ seed: name, layers: [24 * MIB, 3 * MIB, 200 * KIB] });
    await push(registry.url, `workers/${name}`, 'v1', image);
    registry.accessLog.clear();
    return image;
  };

  for (const workers of [1, 2, 4]) {
    it(`${workers} on each of three nodes share an image that all pull at once, and hand it out again`, async () => {
      const { registry } = lab();
      const name = `share-${workers}`;
      const image = await pushed(name);
      const settings = { workers: String(workers) };
      await using cluster = await WeirCluster.start(3, {
        node: () => ({ settings }),
        registries: [registry.host],
      });
      const reference = `${registry.host}/workers/${name}:v1`;
      for (const round of ['cold', 'warm']) {
        const pulled = await Promise.all(cluster.nodes.map((node) => pullThrough(node, reference)));
        assert.deepEqual(
          pulled.map(({ digest }) => digest),
          cluster.nodes.map(() => image.digest),
          round,
        );
      }
      await registry.accessLog.settled();
      const size = image.blobs.reduce((sum, blob) => sum + blob.size, 0);
      const sent = registry.accessLog.bytes('/blobs/');
      assert.ok(sent < 1.5 * size, `the registry sent ${sent} bytes of ${size}`);
    });
  }

  it(`hand one blob to ${MANY} clients at once, each byte right, in bounded memory`, async () => {
    await using blob = await GeneratedBlob.start(4 * MIB);
    await using weir = await WeirNode.start({ settings: { workers: '2', 'mirror.max-requests': '2000' } });
    const url = weir.urlOf(blob.host, `a/b/blobs/${blob.digest}`);
    assert.equal(await digestOf(url), blob.digest);
    const before = await memoryOf(weir.pid, 'RssAnon');
    const digests = await Promise.all(Array.from({ length: MANY }, () => digestOf(url)));
    assert.deepEqual(new Set(digests), new Set([blob.digest]));
    const grown = (await memoryOf(weir.pid, 'RssAnon')) - before;
    assert.ok(grown < MANY * MOST_PER_READER, `${(grown / MIB).toFixed(0)} MiB more`);
    assert.ok(blob.sent < 1.5 * blob.size, 'all came from the node');
  });

  it('one that ends in mid-pull: clients that go on as runtimes do get each byte right', async () => {
    const { registry } = lab();
    const name = 'ends';
    const image = await pushed(name);
    await using cluster = await WeirCluster.start(2, {
      node: () => ({ settings: { workers: '2' }, env: { NODE_OPTIONS: `--import=${END_WORKER}` } }),
      registries: [registry.host],
    });
    const reference = `${registry.host}/workers/${name}:v1`;
    const [first, second] = [cluster.node(0), cluster.node(1)];
    let hasEnded = false;
    const sink = (): void => {
      if (!hasEnded) for (const node of [first, second]) node.signal('SIGUSR2');
      hasEnded = true;
    };
    const pulls = [first, second].map((node) => pullThrough(node, reference, { sink }));
    for (const { digest } of await Promise.all(pulls)) assert.equal(digest, image.digest);
    for (const node of [first, second]) await node.logged(/a byte worker has ended; another takes its place/);
    const again = await Promise.all([first, second].map((node) => pullThrough(node, reference)));
    assert.deepEqual(
      again.map(({ digest }) => digest),
      [image.digest, image.digest],
    );
  });
});

/** The digest of the body that a client gets, which connects anew. */
async function digestOf(url: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  get(url, { agent: false }, (response) => {
    const hash = createHash('sha256');
    assert.equal(response.statusCode, 200);
    response.on('data', (chunk: Buffer) => hash.update(chunk));
    response.on('end', () => resolve(`sha256:${hash.digest('hex')}`));
    response.on('error', reject);
  }).on('error', reject);
  return promise;
}
