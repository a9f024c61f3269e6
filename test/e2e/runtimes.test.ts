/** Real runtimes pull through the mirror: cold, and again with the registry gone. */
import assert from 'node:assert/strict';
import { KIB, MIB } from '../../src/util/clock.ts';
import {
  assertCopied,
  assertFails,
  assertIntact,
  assertNoBypass,
  assertOk,
  assertSentOnce,
} from '../support/assertions.ts';
import { Containerd } from '../support/containerd.ts';
import { Containers } from '../support/containers.ts';
import { DockerHub } from '../support/docker-hub.ts';
import { Docker } from '../support/docker.ts';
import { shared } from '../support/fixture.ts';
import { buildRunnableImage, type TestImage } from '../support/images.ts';
import { push, writeLayout } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WeirNode } from '../support/weir.ts';

const LAYERS = [100 * KIB, 3 * MIB, 36 * MIB]; // the last one is streamed to the runtime while it arrives
const GREETING = ['/bin/busybox', 'echo', 'hello'];

requires(
  'root',
  'docker-registry',
  'containerd',
  'ctr',
  'runc',
  'busybox',
)('runtimes: containerd', () => {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    const containerd = stack.use(await Containerd.start());
    return { registry, containerd };
  });

  const setUp = async (seed: string): Promise<{ image: TestImage; name: string; weir: WeirNode }> => {
    const { registry, containerd } = lab();
    const image = await buildRunnableImage({ seed, layers: LAYERS });
    await push(registry.url, `containerd/${seed}`, 'v1', image);
    const weir = await WeirNode.start();
    await containerd.writeHosts({ registry: registry.host, server: registry.url, mirrors: [weir.url] });
    registry.accessLog.clear();
    return { image, name: `${registry.host}/containerd/${seed}:v1`, weir };
  };

  it('ctr pulls, runs a container of the image, and pulls again with the registry gone', async () => {
    const { registry, containerd } = lab();
    const { image, name, weir: node } = await setUp('ctr');
    await using _weir = node;
    assertOk('ctr images pull', await containerd.ctrPull(name));
    await assertIntact(containerd, image);
    assertNoBypass(registry.accessLog);
    assertSentOnce(registry.accessLog, image);
    assert.equal((await containerd.runContainer(name, ...GREETING)).trim(), 'hello');

    await containerd.removeImage(name);
    assertFails('ctr content get of a removed image', await containerd.content(image.digest));
    await registry.stop();
    try {
      assertOk('ctr images pull with the registry gone', await containerd.ctrPull(name));
      await assertIntact(containerd, image);
    } finally {
      await registry.restart();
    }
  });

  it('CRI PullImage pulls, and again with the registry gone', async () => {
    const { registry, containerd } = lab();
    const { image, name, weir: node } = await setUp('cri');
    await using _weir = node;
    await containerd.cri.pullOk(name);
    await assertIntact(containerd, image);
    assertNoBypass(registry.accessLog);
    assertSentOnce(registry.accessLog, image);

    await containerd.removeImage(name);
    await registry.stop();
    try {
      await containerd.cri.pullOk(name);
      await assertIntact(containerd, image);
    } finally {
      await registry.restart();
    }
    assert.equal((await containerd.runContainer(name, ...GREETING)).trim(), 'hello');
  });
});

requires(
  'root',
  'docker-registry',
  'dockerd',
  'docker',
  'nsenter',
  'unshare',
)('runtimes: docker', () => {
  it('docker pull from Docker Hub through registry-mirrors, and again with the registry gone', async () => {
    await using pantry = await Registry.start();
    const image = await buildRunnableImage({ seed: 'docker', layers: LAYERS, format: 'docker' });
    await push(pantry.url, 'library/hello', 'v1', image);
    await using hub = await DockerHub.start(pantry.storage);
    const within = hub.namespace.enter;
    await using weir = await WeirNode.start({ within, settings: { 'upstream.ca-file': hub.caFile } });
    const env = { SSL_CERT_FILE: hub.caFile };
    await using docker = await Docker.start({ within, env, registryMirrors: [weir.url] });

    assertOk('docker pull', await docker.pull('hello:v1'));
    assertNoBypass(hub.registry.accessLog);
    assertSentOnce(hub.registry.accessLog, image);
    assert.equal(
      (await docker.commandOk(['run', '--rm', '--network=host', 'hello:v1'])).trim(),
      'hello from weir',
    );

    await docker.commandOk(['rmi', '--force', 'hello:v1']);
    await hub.registry.stop();
    assertOk('docker pull with the registry gone', await docker.pull('hello:v1'));
    const found = await docker.commandOk([
      'image',
      'inspect',
      '--format',
      '{{index .RepoDigests 0}}',
      'hello:v1',
    ]);
    assert.equal(found.trim(), `hello@${image.digest}`);
  });
});

requires(
  'root',
  'docker-registry',
  'podman',
  'skopeo',
)('runtimes: podman and skopeo', () => {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    const registries = { 'registry.test': { endpoint: registry.url } };
    const weir = stack.use(await WeirNode.start({ registries }));
    const mirrored = { registry: 'registry.test', location: registry.host, mirror: weir.host };
    const containers = stack.use(await Containers.create(mirrored));
    return { registry, weir, containers };
  });

  beforeEach(async () => lab().registry.restart());

  it('podman pulls, runs, and pulls again with the registry gone', async () => {
    const { registry, containers } = lab();
    const image = await buildRunnableImage({ seed: 'podman', layers: LAYERS });
    await push(registry.url, 'containers/podman', 'v1', image);
    registry.accessLog.clear();
    const name = 'registry.test/containers/podman:v1';
    assertOk('podman pull', await containers.podmanPull(name));
    assertNoBypass(registry.accessLog);
    assertSentOnce(registry.accessLog, image);
    const ran = await containers.podman('run', '--rm', '--network=host', name);
    assertOk('podman run', ran);
    assert.equal(ran.stdout.trim(), 'hello from weir');

    assertOk('podman rmi', await containers.podman('rmi', '--force', name));
    await registry.stop();
    assertOk('podman pull with the registry gone', await containers.podmanPull(name));
  });

  it('skopeo copies, and again with the registry gone', async () => {
    const { registry, containers } = lab();
    await using layout = await TempDir.create('layout');
    const image = await buildRunnableImage({ seed: 'skopeo', layers: LAYERS });
    await writeLayout(layout.path, 'v1', image);
    const target = `docker://${registry.host}/containers/skopeo:v1`;
    const pushed = await containers.skopeo(
      'copy',
      '--dest-tls-verify=false',
      `oci:${layout.path}:v1`,
      target,
    );
    assertOk('skopeo copy to the registry', pushed);
    registry.accessLog.clear();
    const name = 'registry.test/containers/skopeo:v1';
    const cold = await containers.skopeoCopy(name);
    assertOk('skopeo copy', cold.result);
    await assertCopied(cold.folder, image);
    assertNoBypass(registry.accessLog);
    assertSentOnce(registry.accessLog, image);

    await registry.stop();
    const warm = await containers.skopeoCopy(name);
    assertOk('skopeo copy with the registry gone', warm.result);
    await assertCopied(warm.folder, image);
  });
});
