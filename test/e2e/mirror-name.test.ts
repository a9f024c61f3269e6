/** A runtime that uses a name of the mirror that Weir does not know gets 403, and pulls directly. */
import assert from 'node:assert/strict';
import { request as ask } from 'node:http';
import { KIB } from '../../src/util/clock.ts';
import { assertCopied, assertIntact, assertOk } from '../support/assertions.ts';
import { Containerd } from '../support/containerd.ts';
import { Containers } from '../support/containers.ts';
import { Docker } from '../support/docker.ts';
import { DockerHub } from '../support/docker-hub.ts';
import { shared } from '../support/fixture.ts';
import { HttpServer } from '../support/http-server.ts';
import { buildImage, buildRunnableImage, type TestImage } from '../support/images.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { WeirNode } from '../support/weir.ts';

const NAME = 'weir.internal:4770';
const LAYERS = [100 * KIB, 300 * KIB];

/** The node under another name: a proxy that sends it each request with `NAME` as Host. */
function underName(weir: WeirNode): Promise<HttpServer> {
  return HttpServer.start(({ url = '', method, headers }, response) => {
    const onward = ask(weir.url + url, { method, headers: { ...headers, host: NAME } }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    onward.end();
  });
}

function assertRefused(weir: WeirNode): void {
  assert.match(weir.log, /add it to mirror\.hosts","code":"host_not_allowed"/);
  assert.doesNotMatch(weir.log, /"msg":"request served"/);
}

requires(
  'root',
  'docker-registry',
  'containerd',
  'ctr',
  'runc',
)('a mirror by an unknown name: containerd', () => {
  it('containerd pulls from the registry, by CRI and by ctr', async () => {
    await using registry = await Registry.start();
    await using containerd = await Containerd.start();
    await using weir = await WeirNode.start();
    await using named = await underName(weir);
    await containerd.writeHosts({ registry: registry.host, server: registry.url, mirrors: [named.url] });
    const image = await buildImage({ seed: 'by another name', layers: LAYERS });
    await push(registry.url, 'named/app', 'v1', image);
    await containerd.cri.pullOk(`${registry.host}/named/app:v1`);
    await assertIntact(containerd, image);
    await containerd.removeImage(`${registry.host}/named/app:v1`);
    assertOk('ctr images pull', await containerd.ctrPull(`${registry.host}/named/app:v1`));
    assertRefused(weir);
  });
});

requires(
  'root',
  'docker-registry',
  'podman',
  'skopeo',
)('a mirror by an unknown name: podman and skopeo', () => {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    const image: TestImage = await buildRunnableImage({ seed: 'by another name', layers: LAYERS });
    await push(registry.url, 'named/app', 'v1', image);
    const weir = stack.use(await WeirNode.start());
    const named = stack.use(await underName(weir));
    const mirrored = { registry: 'registry.test', location: registry.host, mirror: named.host };
    return { image, weir, containers: stack.use(await Containers.create(mirrored)) };
  });

  it('podman and skopeo pull from the registry', async () => {
    const { image, weir, containers } = lab();
    assertOk('podman pull', await containers.podmanPull('registry.test/named/app:v1'));
    const { result, folder } = await containers.skopeoCopy('registry.test/named/app:v1');
    assertOk('skopeo copy', result);
    await assertCopied(folder, image);
    assertRefused(weir);
  });
});

requires(
  'root',
  'docker-registry',
  'dockerd',
  'docker',
  'nsenter',
  'unshare',
)('a mirror by an unknown name: docker', () => {
  it('docker pulls from the registry', async () => {
    await using pantry = await Registry.start();
    const image = await buildRunnableImage({ seed: 'by another name', layers: LAYERS, format: 'docker' });
    await push(pantry.url, 'library/hello', 'v1', image);
    await using hub = await DockerHub.start(pantry.storage);
    const within = hub.namespace.enter;
    await using weir = await WeirNode.start({ within, settings: { 'upstream.ca-file': hub.caFile } });
    // In this namespace, the name leads to loopback.
    const registryMirrors = [`http://index.docker.io:${new URL(weir.url).port}`];
    await using docker = await Docker.start({ within, env: { SSL_CERT_FILE: hub.caFile }, registryMirrors });
    assertOk('docker pull', await docker.pull('hello:v1'));
    assertRefused(weir);
  });
});
