/**
 * `weir host configure` on a machine with real runtimes. They pull through the mirror without a restart; after
 * `weir host restore`, every file is as it was.
 */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KIB, MIB } from '../../src/util/clock.ts';
import { assertIntact, assertNoBypass, assertOk } from '../support/assertions.ts';
import { Containerd } from '../support/containerd.ts';
import { Containers } from '../support/containers.ts';
import { DockerHub } from '../support/docker-hub.ts';
import { Docker } from '../support/docker.ts';
import { buildImage } from '../support/images.ts';
import { run, runOk } from '../support/program.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WEIR, WeirNode } from '../support/weir.ts';

const LAYERS: readonly number[] = [100 * KIB, 3 * MIB];

/** The root folder of a machine. Each runtime under test is told to use the paths below it. */
async function machine(files: Readonly<Record<string, string>>): Promise<TempDir> {
  const root = await TempDir.create('machine');
  for (const folder of ['etc/containerd/certs.d', 'etc/docker', 'etc/containers', 'var/lib', 'var/run']) {
    await mkdir(root.join(folder), { recursive: true });
  }
  for (const [path, text] of Object.entries(files)) await writeFile(root.join(path), text);
  return root;
}

async function snapshot(folder: string): Promise<ReadonlyMap<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.map((entry) => [join(entry.parentPath, entry.name), entry.isFile()] as const);
  return new Map(
    await Promise.all(
      paths.map(async ([path, isFile]) => [path, isFile ? await readFile(path, 'latin1') : ''] as const),
    ),
  );
}

async function host(
  command: 'configure' | 'restore',
  root: TempDir,
  ...args: readonly string[]
): Promise<string> {
  return runOk(WEIR, ['host', command, '--host-root', root.path, ...args]);
}

requires(
  'root',
  'setpriv',
  'unshare',
)('weir host: a machine that cannot be written to', () => {
  const files = { 'etc/docker/daemon.json': '{}' };

  it('is left alone without root, and the error says so', async () => {
    await using root = await machine(files);
    const user = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
    await run('chmod', ['755', root.path]);
    const result = await run(WEIR, ['host', 'configure', '--host-root', root.path], { within: user });
    assert.equal(result.code, 1);
    assert.match(
      result.stderr,
      /^weir: \/etc\/docker\/daemon\.json cannot be written \(EACCES\): run this as root; nothing was changed/,
    );
  });

  it('is left alone if it is read-only, and the error says so', async () => {
    await using root = await machine(files);
    const script =
      'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$0" host configure --host-root "$1"';
    const result = await run('unshare', ['--mount', 'sh', '-c', script, WEIR, root.path]);
    assert.equal(result.code, 1);
    assert.match(
      result.stderr,
      /^weir: \/etc\/docker\/daemon\.json cannot be written \(EROFS\); nothing was changed/,
    );
    assert.equal(await readFile(root.join('etc/docker/daemon.json'), 'utf8'), '{}');
  });
});

requires(
  'root',
  'docker-registry',
  'containerd',
  'ctr',
)('weir host: containerd', () => {
  it('pulls through the mirror at once, except from a --direct registry, and gets its files back', async () => {
    await using root = await machine({
      'etc/containerd/config.toml':
        'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n',
    });
    await using registry = await Registry.start();
    await using other = await Registry.start();
    const image = await buildImage({ seed: 'host-containerd', layers: LAYERS });
    for (const each of [registry, other]) {
      await push(each.url, 'host/app', 'v1', image);
      each.accessLog.clear();
    }
    await using weir = await WeirNode.start();
    await using containerd = await Containerd.start({ root: root.path });
    const before = await snapshot(root.path);
    await host('configure', root, '--mirror-url', weir.url, '--direct', other.host);

    await containerd.cri.pullOk(`${registry.host}/host/app:v1`);
    await assertIntact(containerd, image);
    assertNoBypass(registry.accessLog);
    assert.ok(registry.accessLog.matching('/manifests/v1').length > 0, 'Weir asked the registry');

    await containerd.removeImage(`${registry.host}/host/app:v1`);
    await containerd.cri.pullOk(`${other.host}/host/app:v1`);
    const agents = other.accessLog.matching('/v2/').map(({ userAgent }) => userAgent);
    assert.ok(agents.length > 0 && agents.every((agent) => agent.includes('containerd')), agents.join('\n'));

    await host('restore', root);
    assert.deepEqual(await snapshot(root.path), before);
  });
});

requires(
  'root',
  'docker-registry',
  'containerd',
  'ctr',
  'podman',
)('weir host: tags resolved at the registry', () => {
  const agentsOf = (registry: Registry, path: string): readonly string[] =>
    registry.accessLog.matching(path).map(({ userAgent }) => userAgent.split('/')[0] ?? '');

  it('containerd asks the registry for the tag, and the mirror for all content', async () => {
    await using root = await machine({
      'etc/containerd/config.toml':
        'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n',
    });
    await using registry = await Registry.start();
    const image = await buildImage({ seed: 'resolve-containerd', layers: LAYERS });
    await push(registry.url, 'host/app', 'v1', image);
    registry.accessLog.clear();
    await using weir = await WeirNode.start();
    await using containerd = await Containerd.start({ root: root.path });
    await host('configure', root, '--mirror-url', weir.url, '--resolve', 'registry');
    await containerd.cri.pullOk(`${registry.host}/host/app:v1`);
    await assertIntact(containerd, image);
    assert.deepEqual([...new Set(agentsOf(registry, '/manifests/v1'))], ['containerd']);
    for (const path of [`/manifests/${image.digest}`, '/blobs/']) {
      assert.deepEqual([...new Set(agentsOf(registry, path))], ['weir'], path);
    }
  });

  it('podman asks the mirror for an image named by digest, and the registry for one named by tag', async () => {
    await using registry = await Registry.start();
    const images = await Promise.all(
      ['by-tag', 'by-digest'].map((seed) => buildImage({ seed, layers: LAYERS })),
    );
    const [tagged, named] = images;
    assert.ok(tagged !== undefined && named !== undefined);
    await push(registry.url, 'host/tagged', 'v1', tagged);
    await push(registry.url, 'host/named', 'v1', named);
    registry.accessLog.clear();
    await using root = await machine({
      'etc/containers/registries.conf': `[[registry]]\nprefix = "registry.test"\nlocation = "${registry.host}"\ninsecure = true\n`,
    });
    await using weir = await WeirNode.start({ registries: { 'registry.test': { endpoint: registry.url } } });
    await using containers = await Containers.ofMachine(root.path);
    const own = ['--runtime', 'podman', '--registries', 'registry.test', '--resolve', 'registry'];
    await host('configure', root, '--mirror-url', weir.url, ...own);
    assertOk('podman pull', await containers.podmanPull('registry.test/host/tagged:v1'));
    assertOk('podman pull', await containers.podmanPull(`registry.test/host/named@${named.digest}`));
    assert.deepEqual([...new Set(agentsOf(registry, '/host/tagged/'))], ['containers']);
    assert.deepEqual([...new Set(agentsOf(registry, '/host/named/'))], ['weir']);
  });
});

requires(
  'root',
  'docker-registry',
  'dockerd',
  'docker',
  'nsenter',
  'unshare',
)('weir host: docker', () => {
  it('uses the mirror after SIGHUP, without a restart, and gets its file back', async () => {
    await using pantry = await Registry.start();
    const image = await buildImage({ seed: 'host-docker', layers: LAYERS, format: 'docker' });
    await push(pantry.url, 'library/hello', 'v1', image);
    await using hub = await DockerHub.start(pantry.storage);
    const within = hub.namespace.enter;
    await using weir = await WeirNode.start({ within, settings: { 'upstream.ca-file': hub.caFile } });
    await using root = await machine({});
    await using docker = await Docker.start({ within, env: { SSL_CERT_FILE: hub.caFile }, root: root.path });
    const file = root.join('etc/docker/daemon.json');
    const before = await readFile(file, 'utf8');

    const told = await host('configure', root, '--mirror-url', weir.url, '--runtime', 'docker');
    assert.match(told, /dockerd \(process \d+\) was told to reload/);
    await docker.logged(/Reloaded configuration:.*registry-mirrors.*127\.0\.0\.1/);
    assertOk('docker pull', await docker.pull('hello:v1'));
    assertNoBypass(hub.registry.accessLog);

    await host('restore', root);
    assert.equal(await readFile(file, 'utf8'), before);
  });
});

requires(
  'root',
  'docker-registry',
  'podman',
  'skopeo',
  'unshare',
)('weir host: podman and skopeo', () => {
  it('pull through the mirror, and get their folder back', async () => {
    await using registry = await Registry.start();
    const image = await buildImage({ seed: 'host-podman', layers: LAYERS });
    await push(registry.url, 'host/app', 'v1', image);
    registry.accessLog.clear();
    await using root = await machine({
      'etc/containers/registries.conf': `[[registry]]\nprefix = "registry.test"\nlocation = "${registry.host}"\ninsecure = true\n`,
    });
    await using weir = await WeirNode.start({ registries: { 'registry.test': { endpoint: registry.url } } });
    await using containers = await Containers.ofMachine(root.path);
    const before = await snapshot(root.path);
    await host(
      'configure',
      root,
      '--mirror-url',
      weir.url,
      '--runtime',
      'podman',
      '--registries',
      'registry.test',
    );
    assertOk('podman pull', await containers.podmanPull('registry.test/host/app:v1'));
    assertOk('skopeo copy', (await containers.skopeoCopy('registry.test/host/app:v1')).result);
    assertNoBypass(registry.accessLog);
    await host('restore', root);
    assert.deepEqual(await snapshot(root.path), before);
  });
});
