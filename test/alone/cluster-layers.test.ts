/** Images of unusual shape: very many small layers, and one far larger than the memory that a node may use. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { GIB, KIB, MIB, MINUTE } from '../../src/util/clock.ts';
import { blobPath, generateImage } from '../../src/cli/demo/image.ts';
import { blobBytes, bytesOf, forget, pullAtOnce, stock } from '../support/crowd.ts';
import { shared } from '../support/fixture.ts';
import { pushFile, putManifest } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { pullThrough, WeirCluster } from '../support/weir-cluster.ts';

const SMALL_LAYERS = 200;
const LARGE = 1 * GIB;
const MOST_RESIDENT = 400 * MIB;
const MOST_FROM_REGISTRY = 2;

requires('docker-registry')('images of unusual shape', () => {
  const lab = shared(async (stack) => ({ registry: stack.use(await Registry.start()) }));

  it(`${SMALL_LAYERS} small layers leave the registry at most ${MOST_FROM_REGISTRY} times for 5 nodes`, async () => {
    const { registry } = lab();
    const sizes = Array.from({ length: SMALL_LAYERS }, (_, i) => 4 * KIB + ((i * 89) % (16 * KIB)));
    const wares = await stock(registry, 'shape/small', sizes);
    await using cluster = await WeirCluster.start(5, { registries: [registry.host] });
    await pullAtOnce(cluster.nodes, wares);
    const ratio = (await blobBytes(registry)) / bytesOf(wares.image);
    const told = `the registry sent ${ratio.toFixed(3)} times the image: ${await cluster.account()}`;
    assert.ok(ratio <= MOST_FROM_REGISTRY, told);
  });

  it(`a layer of 1 GiB takes less than ${MOST_RESIDENT / MIB} MiB of memory on each of 3 nodes`, async function () {
    this.timeout(10 * MINUTE);
    const { registry } = lab();
    await using dir = await TempDir.create('large');
    const image = await generateImage(dir.path, { seed: 'large', layers: [LARGE] });
    for (const { digest } of image.blobs.values()) {
      if (digest === image.top.digest) continue;
      await pushFile(registry.url, 'shape/large', digest, blobPath(dir.path, digest));
    }
    const bytes = await readFile(blobPath(dir.path, image.top.digest));
    await putManifest(registry.url, 'shape/large', 'v1', { ...image.top, bytes });
    await forget(registry);

    await using cluster = await WeirCluster.start(3, { registries: [registry.host] });
    const name = `${registry.host}/shape/large:v1`;
    const pulls = await Promise.all(cluster.nodes.map((node) => pullThrough(node, name)));
    for (const pull of pulls) assert.equal(pull.digest, image.top.digest);
    const ratio = (await blobBytes(registry)) / LARGE;
    const told = `the registry sent ${ratio.toFixed(3)} times the layer: ${await cluster.account()}`;
    assert.ok(ratio <= MOST_FROM_REGISTRY, told);
    for (const { pid } of cluster.nodes) {
      const most = await mostResident(pid);
      assert.ok(most < MOST_RESIDENT, `a node had ${(most / MIB).toFixed(0)} MiB resident`);
    }
  });
});

/** Peak resident bytes of the process since its start (proc(5), VmHWM). */
async function mostResident(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * KIB;
}
