/** Weir serves content that the node's containerd holds from there, and keeps no copy of it. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { KIB, MIB, SECOND } from '../../src/util/clock.ts';
import { assertCopied, assertFails, assertOk, assertSentOnce } from '../support/assertions.ts';
import { request, type Answer } from '../support/client.ts';
import { Containerd } from '../support/containerd.ts';
import { Containers } from '../support/containers.ts';
import { shared } from '../support/fixture.ts';
import { buildImage, type TestBlob } from '../support/images.ts';
import { runOk } from '../support/program.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { WeirNode } from '../support/weir.ts';

/** One name for containerd and for skopeo: Weir keeps the content of different registries apart. */
const REGISTRY = 'registry.test';
/** The node must notice within this time that containerd has committed or removed content. */
const NOTICE = 20 * SECOND;

requires(
  'root',
  'docker-registry',
  'containerd',
  'ctr',
  'skopeo',
)("the runtime's content", () => {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    const containerd = stack.use(await Containerd.start());
    // Before its first image, containerd has no folder that could be watched. A node in use holds some image.
    await push(registry.url, 'runtime/first', 'v1', await buildImage({ seed: 'first' }));
    await containerd.cri.pullOk(`${registry.host}/runtime/first:v1`);
    const weir = stack.use(
      await WeirNode.start({
        settings: { 'store.runtime-content': containerd.contentFolder },
        registries: { [REGISTRY]: { endpoint: registry.url } },
      }),
    );
    await containerd.writeHosts({ registry: REGISTRY, server: registry.url, mirrors: [weir.url] });
    const mirrored = { registry: REGISTRY, location: registry.host, mirror: weir.host };
    const containers = stack.use(await Containers.create(mirrored));
    return { registry, containerd, weir, containers };
  });

  const diskUsage = async (): Promise<number> =>
    Number((await runOk('du', ['--summarize', '--block-size=1', lab().weir.dataFolder])).split('\t')[0]);

  const eventually = async (what: string, isTrue: () => Promise<boolean>): Promise<void> => {
    const deadline = Date.now() + NOTICE;
    while (!(await isTrue())) {
      if (Date.now() > deadline) throw lab().weir.failure(`${what}: not within ${NOTICE} ms`);
      await delay(200);
    }
  };

  const get = async (repository: string, blob: TestBlob): Promise<Answer> =>
    request(lab().weir.urlOf(REGISTRY, `${repository}/blobs/${blob.digest}`));

  it('is served instead of a copy, until containerd removes it', async () => {
    const { registry, containerd, containers } = lab();
    const image = await buildImage({ seed: 'runtime', layers: [200 * KIB, 40 * MIB] });
    await push(registry.url, 'runtime/content', 'v1', image);
    const before = await diskUsage();
    await containerd.cri.pullOk(`${REGISTRY}/runtime/content:v1`);
    await eventually("Weir's own copy is dropped", async () => (await diskUsage()) < before + 5 * MIB);

    for (const blob of image.blobs) {
      const answer = await get('runtime/content', blob);
      assert.equal(answer.digest, blob.digest);
      assert.equal(answer.headers.get('weir-source'), 'runtime');
    }
    registry.accessLog.clear();
    const copy = await containers.skopeoCopy(`${REGISTRY}/runtime/content:v1`);
    assertOk('skopeo copy', copy.result);
    await assertCopied(copy.folder, image);
    assert.equal(registry.accessLog.bytes('/blobs/'), 0, 'bytes of blobs that upstream sent');

    await containerd.removeImage(`${REGISTRY}/runtime/content:v1`);
    assertFails('content get after the removal', await containerd.content(image.digest));
    await eventually('the runtime no longer serves', async () => {
      const [, layer] = image.blobs;
      assert.ok(layer !== undefined);
      const answer = await get('runtime/content', layer);
      assert.equal(answer.digest, layer.digest);
      return answer.headers.get('weir-source') !== 'runtime';
    });
    const again = await containers.skopeoCopy(`${REGISTRY}/runtime/content:v1`);
    assertOk('skopeo copy after the removal', again.result);
    await assertCopied(again.folder, image);
    assertSentOnce(registry.accessLog, image);
  });

  it('is served even if it was pulled past the mirror, once upstream has delivered it to Weir, too', async () => {
    const { registry, containerd, weir } = lab();
    const image = await buildImage({ seed: 'before', layers: [3 * MIB] });
    await push(registry.url, 'runtime/before', 'v1', image);
    await weir.terminate();
    await containerd.cri.pullOk(`${REGISTRY}/runtime/before:v1`); // the mirror is down: from the registry
    await weir.restart();
    registry.accessLog.clear();
    const used = await diskUsage();
    for (const blob of image.blobs) {
      // Weir does not know yet which registry it came from. Private content of another one must not leak.
      const first = await get('runtime/before', blob);
      assert.equal(first.headers.get('weir-source'), 'upstream');
      assert.equal(first.digest, blob.digest);
      // Until the copy that proved it is committed and dropped, another request takes part in that pull.
      await eventually("the runtime's content is served", async () => {
        const second = await get('runtime/before', blob);
        assert.equal(second.digest, blob.digest);
        return second.headers.get('weir-source') === 'runtime';
      });
    }
    assertSentOnce(registry.accessLog, image);
    assert.ok((await diskUsage()) < used + MIB, 'no copy was made');
  });
});
