/**
 * podman 5 in a tree of Debian 13 (test/setup.sh makes it), with a storage of the test's own. `podman kube play` of
 * podman 4 knows too little of Kubernetes. The tree is the root of a mount namespace; /tmp is the machine's.
 */
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MINUTE } from '../../src/clock.ts';
import { Program, run, describeResult, type Result } from './program.ts';
import { TempDir } from './temp.ts';

/** Where test/setup.sh keeps it. */
export const PODMAN_TREE: string = join(process.env['WEIR_TEST_CACHE'] ?? '/var/cache/weir-test', 'trixie');

const TIMEOUT: number = 2 * MINUTE;

/** What `requires` is asked: the program in the tree. */
export const PODMAN5: string = join(PODMAN_TREE, 'usr/bin/podman');

export class Podman5 implements AsyncDisposable {
  readonly #dir: TempDir;
  readonly #holder: Program;

  private constructor(dir: TempDir, holder: Program) {
    this.#dir = dir;
    this.#holder = holder;
  }

  static async create(): Promise<Podman5> {
    if (!existsSync(PODMAN5)) throw new Error(`${PODMAN5} is missing: run test/setup.sh`);
    const dir = await TempDir.create('podman5');
    for (const name of ['storage', 'run', 'tmp']) await mkdir(dir.join(name));
    await writeFile(dir.join('containers.conf'), CONTAINERS_CONF);
    await writeFile(dir.join('storage.conf'), storageConf(dir));
    await writeFile(dir.join('policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
    await writeFile(dir.join('enter'), ENTER);
    const args = ['--mount', 'sh', dir.join('enter'), PODMAN_TREE, tmpdir()];
    const holder = await Program.start({ command: 'unshare', args });
    try {
      await holder.line(/the tree is ready/);
      return new Podman5(dir, holder);
    } catch (error) {
      await dir[Symbol.asyncDispose]();
      throw error;
    }
  }

  async run(...args: readonly string[]): Promise<Result> {
    const within = ['nsenter', '--target', String(this.#holder.pid), '--mount', '--'].concat(
      // The working folder of the tests is outside of the tree.
      ['sh', '-c', 'cd / && exec "$0" "$@"'],
    );
    const env = {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOME: this.#dir.path,
      TMPDIR: this.#dir.join('tmp'),
      CONTAINERS_CONF: this.#dir.join('containers.conf'),
      CONTAINERS_STORAGE_CONF: this.#dir.join('storage.conf'),
      PODMAN_IGNORE_CGROUPSV1_WARNING: '1',
    };
    return run('podman', args, { within, env, timeout: TIMEOUT });
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
    await this.#holder.stop('SIGKILL');
    await this.#dir[Symbol.asyncDispose]();
  }
}

/** $1: the tree; $2: the folder of temporary files. */
const ENTER = `set -e
tree=$1
mount --make-rprivate /
mount --bind "$tree" "$tree"
for folder in /proc /sys /dev; do mount --rbind "$folder" "$tree$folder"; done
mount -t tmpfs tmpfs "$tree/run"
mount -t tmpfs tmpfs "$tree/var/tmp"
mkdir -p "$tree$2"
mount --rbind "$2" "$tree$2"
cd "$tree"
mkdir -p run/old
pivot_root . run/old
umount --lazy /run/old
echo the tree is ready
exec sleep infinity
`;

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
