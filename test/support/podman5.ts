/**
 * podman 5 of Debian 13, with a storage of the test's own: `podman kube play` of podman 4 knows too little of Kubernetes.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { MINUTE } from '../../src/util/clock.ts';
import { DebianTree, inTree } from './debian-tree.ts';
import { run, describeResult, type Result } from './program.ts';
import { TempDir } from './temp.ts';

const TIMEOUT = 2 * MINUTE;

/** Path of the program in the tree, for `requires`. */
export const PODMAN5: string = inTree('trixie', 'podman');

export class Podman5 implements AsyncDisposable {
  readonly #dir: TempDir;
  readonly #tree: DebianTree;

  private constructor(dir: TempDir, tree: DebianTree) {
    this.#dir = dir;
    this.#tree = tree;
  }

  static async create(): Promise<Podman5> {
    const dir = await TempDir.create('podman5');
    try {
      for (const name of ['storage', 'run', 'tmp']) await mkdir(dir.join(name));
      await writeFile(dir.join('containers.conf'), CONTAINERS_CONF);
      await writeFile(dir.join('storage.conf'), storageConf(dir));
      await writeFile(dir.join('registries.conf'), '');
      await writeFile(dir.join('policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
      return new Podman5(dir, await DebianTree.enter('trixie'));
    } catch (error) {
      await dir[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Writes its registries.conf. */
  async configure(...sections: readonly (readonly string[])[]): Promise<void> {
    await writeFile(this.#dir.join('registries.conf'), sections.flat().join('\n'));
  }

  async run(...args: readonly string[]): Promise<Result> {
    const env = {
      HOME: this.#dir.path,
      TMPDIR: this.#dir.join('tmp'),
      CONTAINERS_CONF: this.#dir.join('containers.conf'),
      CONTAINERS_STORAGE_CONF: this.#dir.join('storage.conf'),
      CONTAINERS_REGISTRIES_CONF: this.#dir.join('registries.conf'),
      PODMAN_IGNORE_CGROUPSV1_WARNING: '1',
    };
    return run('podman', args, { within: this.#tree.within, env, timeout: TIMEOUT });
  }

  async runOk(...args: readonly string[]): Promise<string> {
    const result = await this.run(...args);
    if (result.code !== 0) throw new Error(describeResult(`podman ${args.join(' ')}`, result));
    return result.stdout;
  }

  async load(archive: string): Promise<void> {
    await this.runOk('load', '--quiet', '--input', archive);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.run('pod', 'rm', '--all', '--force', '--time', '10');
    await this.#tree[Symbol.asyncDispose]();
    await this.#dir[Symbol.asyncDispose]();
  }
}

/** Without systemd: runc, plain cgroup files, events in a file. */
const CONTAINERS_CONF = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
`;

function storageConf(dir: TempDir): string {
  return `[storage]
driver = "vfs"
graphroot = "${dir.join('storage')}"
runroot = "${dir.join('run')}"
`;
}
