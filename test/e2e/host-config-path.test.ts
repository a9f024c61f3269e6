/**
 * What `weir host configure` says of containerd's own configuration, held against what containerd does: where it says
 * that pulls go past the mirror they do, and with what it says to add they do not.
 */
import assert from 'node:assert/strict';
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { Cri } from '../support/cri.ts';
import { DebianTree, inTree, type Suite } from '../support/debian-tree.ts';
import { shared } from '../support/fixture.ts';
import { buildImage } from '../support/images.ts';
import { Program, runOk } from '../support/program.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WEIR, WeirNode } from '../support/weir.ts';

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

    it('without config_path pulls go past the mirror, and with what is said to be added they do not', async () => {
      const { registry, weir } = lab();
      await using machine = await Machine.create(suite, config);
      const told = await machine.configure(weir);
      assert.match(told, /config_path is not set/);
      assert.match(await machine.pull(registry), /^containerd/);
      const added = told.split('restart containerd once (containers keep running):\n')[1] ?? '';
      await appendFile(machine.config, added.split('\n').slice(0, 2).join('\n'));
      assert.doesNotMatch(await machine.configure(weir), /config_path/);
      assert.match(await machine.pull(registry), /^weir/);
    });

    it('with a list in config_path: what is said of it', async () => {
      const { registry, weir } = lab();
      const table = config === 'version = 3\n' ? NEW : OLD;
      const list = `${config}${table}.registry]\nconfig_path = "/etc/containerd/certs.d:/etc/docker/certs.d"\n`;
      await using machine = await Machine.create(suite, list);
      assert.match(await machine.configure(weir), /containerd 2\.1 and later read none of them/);
      assert.match(await machine.pull(registry), version === '2' ? /^containerd/ : /^weir/);
      if (config !== 'version = 3\n') return;
      await writeFile(machine.config, `${list}${NEW}]\nuse_local_image_pull = true\n`);
      assert.doesNotMatch(await machine.configure(weir), /config_path/);
      assert.match(await machine.pull(registry), /^weir/);
    });
  });
}

/** Pulled so far: no two of them are the same. */
let images = 0;

/** A root folder with a configuration of containerd, which is in `/etc/containerd` of the tree that containerd runs in. */
class Machine implements AsyncDisposable {
  readonly config: string;
  readonly #suite: Suite;
  readonly #root: TempDir;

  private constructor(suite: Suite, root: TempDir) {
    this.#suite = suite;
    this.#root = root;
    this.config = root.join('etc/containerd/config.toml');
  }

  static async create(suite: Suite, config: string): Promise<Machine> {
    const machine = new Machine(suite, await TempDir.create('machine'));
    await mkdir(machine.#root.join('etc/containerd'), { recursive: true });
    await writeFile(machine.config, config);
    return machine;
  }

  async configure(weir: WeirNode): Promise<string> {
    return runOk(WEIR, ['host', 'configure', '--host-root', this.#root.path, '--mirror-url', weir.url]);
  }

  /** Pulls a new image with a containerd that starts with nothing. @returns who asked the registry */
  async pull(registry: Registry): Promise<string> {
    const repository = `host/app${(images += 1)}`;
    await push(registry.url, repository, 'v1', await buildImage({ seed: repository, layers: [100_000] }));
    await using dir = await TempDir.create('containerd');
    await using tree = await DebianTree.enter(this.#suite);
    const bind = ['--bind', this.#root.join('etc/containerd'), '/etc/containerd'];
    await runOk('sh', ['-c', 'mkdir -p /etc/containerd && mount "$@"', 'sh', ...bind], {
      within: tree.within,
    });
    await writeFile(dir.join('config.toml'), withFolders(await readFile(this.config, 'utf8'), dir));
    const args = ['--config', dir.join('config.toml')];
    await using program = await Program.start({ command: 'containerd', args, within: tree.within });
    await program.line(/containerd successfully booted/);
    using cri = new Cri(dir.join('containerd.sock'));
    registry.accessLog.clear();
    await cri.pullOk(`${registry.host}/${repository}:v1`);
    const agents = registry.accessLog.matching(`/v2/${repository}/`).map(({ userAgent }) => userAgent);
    return [...new Set(agents)].join(', ');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#root[Symbol.asyncDispose]();
  }
}

/** The same, with folders and sockets of the test's own. */
function withFolders(config: string, dir: TempDir): string {
  const [version = '', ...rest] = config.split('\n');
  const own = [`root = "${dir.join('root')}"`, `state = "${dir.join('state')}"`];
  const sockets = [
    ['[grpc]', `address = "${dir.join('containerd.sock')}"`],
    ['[ttrpc]', `address = "${dir.join('containerd.sock.ttrpc')}"`],
  ].flat();
  return [version, ...own, ...rest, ...sockets, ''].join('\n');
}
