/** A machine with the containerd of a later Debian, on whose `/etc/containerd` and `/etc/docker` `weir host configure` runs. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { Cri } from './cri.ts';
import { DebianTree, type Suite } from './debian-tree.ts';
import { Program, runOk } from './program.ts';
import { TempDir } from './temp.ts';
import { WEIR } from './weir.ts';

/** A root folder with a configuration of containerd, which are those folders of the tree that containerd runs in. */
export class TreeMachine implements AsyncDisposable {
  readonly config: string;
  readonly #suite: Suite;
  readonly #root: TempDir;

  private constructor(suite: Suite, root: TempDir) {
    this.#suite = suite;
    this.#root = root;
    this.config = root.join('etc/containerd/config.toml');
  }

  static async create(suite: Suite, config: string): Promise<TreeMachine> {
    const machine = new TreeMachine(suite, await TempDir.create('machine'));
    for (const folder of ['etc/containerd', 'etc/docker']) {
      await mkdir(machine.#root.join(folder), { recursive: true });
    }
    await writeFile(machine.config, config);
    return machine;
  }

  async configure(mirrorUrl: string, ...args: readonly string[]): Promise<string> {
    const root = ['--host-root', this.#root.path];
    return runOk(WEIR, ['host', 'configure', ...root, '--mirror-url', mirrorUrl, ...args]);
  }

  /** Pulls with an empty containerd. @returns the digests of the image, as containerd names them */
  async pull(image: string): Promise<readonly string[]> {
    await using dir = await TempDir.create('containerd');
    await using tree = await DebianTree.enter(this.#suite);
    for (const folder of ['etc/containerd', 'etc/docker']) {
      const bind = ['--bind', this.#root.join(folder), `/${folder}`];
      await runOk('sh', ['-c', `mkdir -p /${folder} && mount "$@"`, 'sh', ...bind], { within: tree.within });
    }
    await writeFile(dir.join('config.toml'), withFolders(await readFile(this.config, 'utf8'), dir));
    const args = ['--config', dir.join('config.toml')];
    await using program = await Program.start({ command: 'containerd', args, within: tree.within });
    await program.line(/containerd successfully booted/);
    using cri = new Cri(dir.join('containerd.sock'));
    await cri.ready();
    await cri.pullOk(image);
    return (await cri.imageStatus(image))?.repo_digests ?? [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#root[Symbol.asyncDispose]();
  }
}

/** The configuration, with folders and sockets of the test's own. */
function withFolders(config: string, dir: TempDir): string {
  const [version = '', ...rest] = config.split('\n');
  const own = [`root = "${dir.join('root')}"`, `state = "${dir.join('state')}"`];
  const sockets = [
    ['[grpc]', `address = "${dir.join('containerd.sock')}"`],
    ['[ttrpc]', `address = "${dir.join('containerd.sock.ttrpc')}"`],
  ].flat();
  return [version, ...own, ...rest, ...sockets, ''].join('\n');
}
