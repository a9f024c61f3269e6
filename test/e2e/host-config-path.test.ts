/**
 * Compares what `weir host configure` says about containerd's own configuration with what containerd does. If it says
 * that pulls go past the mirror, they do. With the lines that it says to add, they do not.
 */
import assert from 'node:assert/strict';
import { appendFile, writeFile } from 'node:fs/promises';
import { inTree } from '../support/debian-tree.ts';
import { shared } from '../support/fixture.ts';
import { buildImage } from '../support/images.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TreeMachine } from '../support/tree-machine.ts';
import { WeirNode } from '../support/weir.ts';

const OLD = '[plugins."io.containerd.grpc.v1.cri"';
const NEW = '[plugins."io.containerd.cri.v1.images"';

for (const [suite, version, config] of [
  ['trixie', '1.7', 'version = 2\n'],
  ['forky', '2', 'version = 2\n'],
  ['forky', '2', 'version = 3\n'],
] as const) {
  const needs = ['root', 'docker-registry', 'nsenter', inTree(suite, 'containerd')];
  const title = `weir host: containerd ${version}, ${config.trim()}`;
  requires(...needs)(title, () => {
    const lab = shared(async (stack) => {
      const registry = stack.use(await Registry.start());
      const weir = stack.use(await WeirNode.start());
      await push(
        registry.url,
        'host/app',
        'v1',
        await buildImage({ seed: 'config-path', layers: [100_000] }),
      );
      return { registry, weir };
    });

    it('without config_path, pulls go past the mirror until the lines that Weir names are added', async () => {
      const { registry, weir } = lab();
      await using machine = await TreeMachine.create(suite, config);
      const told = await machine.configure(weir.url);
      assert.match(told, /config_path is not set/);
      assert.match(await pullFrom(machine, registry), /^containerd/);
      const added = told.split('restart containerd once (containers keep running):\n')[1] ?? '';
      await appendFile(machine.config, added.split('\n').slice(0, 2).join('\n'));
      assert.doesNotMatch(await machine.configure(weir.url), /config_path/);
      assert.match(await pullFrom(machine, registry), /^weir/);
    });

    it('containerd treats a list in config_path as Weir says', async () => {
      const { registry, weir } = lab();
      const table = config === 'version = 3\n' ? NEW : OLD;
      const list = `${config}${table}.registry]\nconfig_path = "/etc/containerd/certs.d:/etc/docker/certs.d"\n`;
      await using machine = await TreeMachine.create(suite, list);
      assert.match(await machine.configure(weir.url), /containerd 2\.1 and later read none of them/);
      assert.match(await pullFrom(machine, registry), version === '2' ? /^containerd/ : /^weir/);
      if (config !== 'version = 3\n') return;
      await writeFile(machine.config, `${list}${NEW}]\nuse_local_image_pull = true\n`);
      assert.doesNotMatch(await machine.configure(weir.url), /config_path/);
      assert.match(await pullFrom(machine, registry), /^weir/);
    });
  });
}

/** Images so far; the number is the seed, so that no two are the same. */
let images = 0;

/** Pulls a new image with an empty containerd. @returns the user agents that asked the registry */
async function pullFrom(machine: TreeMachine, registry: Registry): Promise<string> {
  const repository = `host/app${(images += 1)}`;
  await push(registry.url, repository, 'v1', await buildImage({ seed: repository, layers: [100_000] }));
  registry.accessLog.clear();
  await machine.pull(`${registry.host}/${repository}:v1`);
  const agents = registry.accessLog.matching(`/v2/${repository}/`).map(({ userAgent }) => userAgent);
  return [...new Set(agents)].join(', ');
}
