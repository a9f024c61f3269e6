/**
 * While no node listens at the mirror's port, any user of the machine can answer there: here with another image of the
 * same name. If tags are resolved at the registry (`--resolve registry`), no runtime believes it.
 */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { KIB } from '../../src/util/clock.ts';
import { Containerd } from '../support/containerd.ts';
import { Containers } from '../support/containers.ts';
import { inTree } from '../support/debian-tree.ts';
import { shared } from '../support/fixture.ts';
import { buildImage } from '../support/images.ts';
import { runOk } from '../support/program.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { TreeMachine } from '../support/tree-machine.ts';
import { WEIR } from '../support/weir.ts';

const NAME = 'host/app';
/** As podman names the registry, whose location has a port: `__` in the mirror's path. */
const REGISTRY_NAME = 'registry.test';
const CONFIG_PATH = 'config_path = "/etc/containerd/certs.d"\n';

async function images() {
  const good = await buildImage({ seed: 'what the registry has', layers: [100 * KIB] });
  const evil = await buildImage({ seed: 'what the attacker has', layers: [100 * KIB] });
  return { good, evil };
}

async function configure(root: TempDir, ...args: readonly string[]): Promise<void> {
  await runOk(WEIR, ['host', 'configure', '--host-root', root.path, ...args]);
}

requires('root', 'docker-registry')('a program at the port of the mirror', () => {
  /** A registry, and the program at the mirror's port: it has an image of its own for each name. */
  const scene = shared(async (stack) => {
    const { good, evil } = await images();
    const registry = stack.use(await Registry.start());
    const attacker = stack.use(await Registry.start());
    await push(registry.url, NAME, 'v1', good);
    await push(attacker.url, NAME, 'v1', evil);
    await push(attacker.url, `${registry.host.replace(':', '__')}/${NAME}`, 'v1', evil);
    return { registry, attacker, good, evil };
  });

  /** Pulls in both ways; the first shows that the attack works. */
  const tried = async (pull: (resolve: string) => Promise<readonly string[]>): Promise<void> => {
    const { good, evil } = scene();
    const [believed, direct] = [await pull('mirror'), await pull('registry')];
    assert.ok(
      believed.some((digest) => digest.endsWith(evil.digest)),
      'the attack itself does not work',
    );
    assert.ok(
      direct.every((digest) => digest.endsWith(good.digest)),
      direct.join(', '),
    );
    assert.ok(direct.length > 0);
  };

  requires('containerd', 'ctr')('and containerd of this machine', () => {
    it('is not believed on a tag', async () => {
      await tried(async (resolve) => {
        const { registry, attacker } = scene();
        await using root = await TempDir.create('machine');
        await mkdir(root.join('etc/containerd/certs.d'), { recursive: true });
        await writeFile(
          root.join('etc/containerd/config.toml'),
          `version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n${CONFIG_PATH}`,
        );
        await configure(root, '--mirror-url', attacker.url, '--resolve', resolve);
        await using containerd = await Containerd.start({ root: root.path });
        const image = `${registry.host}/${NAME}:v1`;
        await containerd.cri.pullOk(image);
        return (await containerd.cri.imageStatus(image))?.repo_digests ?? [];
      });
    });
  });

  for (const [suite, version, table] of [
    ['trixie', '1.7', 'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n'],
    ['forky', '2', 'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\n'],
  ] as const) {
    const needs = ['nsenter', inTree(suite, 'containerd')];
    requires(...needs)(`and containerd ${version}`, () => {
      it('is not believed on a tag', async () => {
        await tried(async (resolve) => {
          const { registry, attacker } = scene();
          await using machine = await TreeMachine.create(suite, table + CONFIG_PATH);
          await machine.configure(attacker.url, '--resolve', resolve);
          return await machine.pull(`${registry.host}/${NAME}:v1`);
        });
      });
    });
  }

  requires('podman', 'unshare')('and podman', () => {
    it('is not believed on a tag', async () => {
      await tried(async (resolve) => {
        const { registry, attacker } = scene();
        await using root = await TempDir.create('machine');
        await mkdir(root.join('etc/containers'), { recursive: true });
        await writeFile(
          root.join('etc/containers/registries.conf'),
          `[[registry]]\nprefix = "${REGISTRY_NAME}"\nlocation = "${registry.host}"\ninsecure = true\n`,
        );
        const own = ['--runtime', 'podman', '--registries', REGISTRY_NAME];
        await configure(root, '--mirror-url', attacker.url, '--resolve', resolve, ...own);
        await using containers = await Containers.ofMachine(root.path);
        const image = `${REGISTRY_NAME}/${NAME}:v1`;
        const { code, stderr } = await containers.podmanPull(image);
        assert.equal(code, 0, stderr);
        const { stdout } = await containers.podman('image', 'inspect', '--format', '{{.Digest}}', image);
        return [stdout.trim()];
      });
    });
  });
});
