/** The registry goes away: in mid-blob, from the start, in DNS, or into a black hole. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { KIB, MIB, SECOND } from '../../src/util/clock.ts';
import { assertCopied, assertFails, assertIntact, assertOk } from '../support/assertions.ts';
import { BlackHole } from '../support/black-hole.ts';
import { request } from '../support/client.ts';
import { Containerd } from '../support/containerd.ts';
import { Containers } from '../support/containers.ts';
import type { PullOutcome } from '../support/cri.ts';
import { Docker } from '../support/docker.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import type { Fault } from '../support/fault-rules.ts';
import { shared } from '../support/fixture.ts';
import { buildImage, largestBlob, pathOf } from '../support/images.ts';
import { assertNoWorse, pullBoth, PullScene } from '../support/pull-scene.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { WeirNode } from '../support/weir.ts';

const IMAGE = 'out/age:v1';
const LAYERS = [200 * KIB, 40 * MIB];
const MID = 10 * MIB;
const RATE = 20 * MIB;
const DOWN = 2 * SECOND;

const prepare = async (stack: AsyncDisposableStack) => {
  const registry = stack.use(await Registry.start());
  const image = await buildImage({ seed: 'outages', layers: LAYERS });
  await push(registry.url, 'out/age', 'v1', image);
  return { registry, image };
};

requires(
  'root',
  'docker-registry',
  'containerd',
  'ctr',
)('outages: containerd', () => {
  const lab = shared(prepare);

  it('a pull succeeds if the registry is stopped in mid-blob and started again 2 s later', async () => {
    const { registry: pantry, image } = lab();
    const { storage } = pantry;
    await using one = await Registry.start({ storage });
    await using other = await Registry.start({ storage });
    await using direct = await PullScene.create(one.url);
    await using mirrored = await PullScene.create(other.url, {});
    const [without, through] = await Promise.all([
      pullAndInterrupt(one, direct),
      pullAndInterrupt(other, mirrored),
    ]);
    // A pull that fails before the registry is back is not quicker than one that waits for it.
    const duration = Math.max(without.outcome.duration, through.back);
    await assertNoWorse('succeeds', { ...without.outcome, duration }, through.outcome, mirrored, image);
  });

  it('a pull succeeds from a warm store if the registry is down from the start', async () => {
    const { registry, image } = lab();
    await using scene = await PullScene.create(registry.url, {});
    assert.equal((await scene.pull(IMAGE)).error, undefined);
    const { proxy, weir } = scene;
    assert.ok(weir !== undefined);
    await proxy[Symbol.asyncDispose]();
    await using fresh = await Containerd.start();
    await fresh.writeHosts({ registry: proxy.host, server: proxy.url, mirrors: [weir.url] });
    const through = await fresh.cri.pull(`${proxy.host}/${IMAGE}`);
    assert.equal(through.error, undefined);
    assert.ok(through.duration < 5 * SECOND, `took ${Math.round(through.duration)} ms`);
    await assertIntact(fresh, image);
    // After a restart, the node still knows the content, the tag and the callers that may have them.
    await weir.restart();
    await using another = await Containerd.start();
    await another.writeHosts({ registry: proxy.host, server: proxy.url, mirrors: [weir.url] });
    assert.equal((await another.cri.pull(`${proxy.host}/${IMAGE}`)).error, undefined);
    await assertIntact(another, image);
  });

  it('a pull with a cold store fails as without Weir if the registry is down from the start', async () => {
    const { registry, image } = lab();
    await using direct = await PullScene.create(registry.url);
    await using mirrored = await PullScene.create(registry.url, {});
    await direct.proxy[Symbol.asyncDispose]();
    await mirrored.proxy[Symbol.asyncDispose]();
    const [without, through] = await pullBoth(direct, mirrored, IMAGE);
    assert.notEqual(through.error, undefined);
    await assertNoWorse('as without it', without, through, mirrored, image);
  });

  it("if the registry's name is not in DNS, a cold pull fails as without Weir, a warm one succeeds", async () => {
    const { registry, image } = lab();
    const name = 'registry.invalid/out/age:v1';
    const registries = { 'registry.invalid': { endpoint: registry.url } };
    await using weir = await WeirNode.start();
    await using direct = await Containerd.start();
    await using mirrored = await Containerd.start();
    const server = 'http://registry.invalid';
    await mirrored.writeHosts({ registry: 'registry.invalid', server, mirrors: [weir.url] });
    const [without, through] = await Promise.all([direct.cri.pull(name), mirrored.cri.pull(name)]);
    assert.notEqual(through.error, undefined);
    assert.ok(through.duration < without.duration + 5 * SECOND, `took ${Math.round(through.duration)} ms`);

    await weir.restart({ registries });
    await mirrored.cri.pullOk(name);
    await weir.restart({ registries: {} });
    await using fresh = await Containerd.start();
    await fresh.writeHosts({ registry: 'registry.invalid', server, mirrors: [weir.url] });
    const warm = await fresh.cri.pull(name);
    assert.equal(warm.error, undefined);
    assert.ok(warm.duration < 10 * SECOND, `took ${Math.round(warm.duration)} ms`);
    await assertIntact(fresh, image);
  });

  it('a registry that takes connections and never answers leads to a 404 within 5 s', async () => {
    const { image } = lab();
    await using hole = await BlackHole.start();
    await using weir = await WeirNode.start();
    const tag = await request(weir.urlOf(hole.host, 'out/age/manifests/v1'));
    assert.equal(tag.status, 404);
    assert.ok(tag.duration < 5 * SECOND, `took ${Math.round(tag.duration)} ms`);
    const blob = await request(weir.urlOf(hole.host, `out/age/blobs/${largestBlob(image).digest}`));
    assert.equal(blob.status, 404);
    assert.ok(blob.duration < 5 * SECOND, `took ${Math.round(blob.duration)} ms`);
  });
});

const internalError: Fault = { kind: 'answer', status: 500, body: '{}' };
const cut: Fault = { kind: 'cut', at: MID };

requires(
  'root',
  'docker-registry',
  'podman',
  'skopeo',
)('outages: podman and skopeo', () => {
  const lab = shared(prepare);

  const scene = async (stack: AsyncDisposableStack) => {
    const { registry } = lab();
    const proxy = stack.use(await FaultProxy.start(registry.url));
    const weir = stack.use(
      await WeirNode.start({ registries: { 'registry.test': { endpoint: proxy.url } } }),
    );
    const mirrored = { registry: 'registry.test', location: proxy.host, mirror: weir.host };
    const containers = stack.use(await Containers.create(mirrored));
    return { proxy, containers };
  };

  for (const [title, fault] of [
    ['one 500', internalError],
    ['one clean cut', cut],
  ] as const) {
    // skopeo cannot go upstream for a blob.
    it(`skopeo gets the whole image despite ${title} for a blob`, async () => {
      const { image } = lab();
      await using stack = new AsyncDisposableStack();
      const { proxy, containers } = await scene(stack);
      proxy.setRules({ path: pathOf(largestBlob(image).digest), fault, times: 1 });
      const { result, folder } = await containers.skopeoCopy(`registry.test/${IMAGE}`);
      assertOk('skopeo copy', result);
      await assertCopied(folder, image);
    });
  }

  it('skopeo fails on wrong bytes in a large blob as without Weir, and its next copy is whole', async () => {
    const { image } = lab();
    await using stack = new AsyncDisposableStack();
    const { proxy, containers } = await scene(stack);
    proxy.setRules({ path: pathOf(largestBlob(image).digest), fault: { kind: 'flip', at: MID }, times: 1 });
    assertFails('skopeo copy of wrong bytes', (await containers.skopeoCopy(`registry.test/${IMAGE}`)).result);
    const { result, folder } = await containers.skopeoCopy(`registry.test/${IMAGE}`);
    assertOk('the next skopeo copy', result);
    await assertCopied(folder, image);
  });

  it('podman pulls despite one 500 for a blob', async () => {
    const { image } = lab();
    await using stack = new AsyncDisposableStack();
    const { proxy, containers } = await scene(stack);
    proxy.setRules({ path: pathOf(largestBlob(image).digest), fault: internalError, times: 1 });
    assertOk('podman pull', await containers.podmanPull(`registry.test/${IMAGE}`));
  });

  it('podman fails if a blob always gets 500, at most 35 s later than without Weir', async () => {
    const { image } = lab();
    await using stack = new AsyncDisposableStack();
    const { proxy, containers } = await scene(stack);
    proxy.setRules({ path: pathOf(largestBlob(image).digest), fault: internalError });
    await using direct = await Containers.create({ registry: 'registry.test', location: proxy.host });
    const [without, through] = await Promise.all([
      direct.podmanPull(`registry.test/${IMAGE}`),
      containers.podmanPull(`registry.test/${IMAGE}`),
    ]);
    assertFails('podman pull', through);
    // mirror.patient-timeout is 30 s: a client that cannot go upstream is better served late than not at all.
    assert.ok(through.duration < without.duration + 35 * SECOND, `took ${Math.round(through.duration)} ms`);
  });
});

requires(
  'root',
  'docker-registry',
  'dockerd',
  'docker',
)('outages: docker', () => {
  const lab = shared(prepare);

  for (const [title, fault] of [
    ['one 500', internalError],
    ['one clean cut', cut],
  ] as const) {
    it(`docker pulls despite ${title} for a blob`, async () => {
      const { registry, image } = lab();
      await using proxy = await FaultProxy.start(registry.url);
      await using weir = await WeirNode.start({ registries: { 'docker.io': { endpoint: proxy.url } } });
      await using docker = await Docker.start({ registryMirrors: [weir.url] });
      proxy.setRules({ path: pathOf(largestBlob(image).digest), fault, times: 1 });
      assertOk('docker pull', await docker.pull(IMAGE));
    });
  }
});

/**
 * Pulls, stops the registry once `MID` bytes of blobs have left it, and starts it again `DOWN` later.
 * @returns `back`: milliseconds from the start of the pull until the registry was back
 */
async function pullAndInterrupt(
  registry: Registry,
  scene: PullScene,
): Promise<{ readonly outcome: PullOutcome; readonly back: number }> {
  const began = performance.now();
  scene.proxy.setRules({ path: /\/blobs\//, fault: { kind: 'throttle', bytesPerSecond: RATE } });
  const pulling = scene.pull(IMAGE);
  while (scene.proxy.bytes(/\/blobs\//) < MID) await delay(20);
  await registry.stop();
  await delay(DOWN);
  await registry.restart();
  const back = performance.now() - began;
  return { outcome: await pulling, back };
}
