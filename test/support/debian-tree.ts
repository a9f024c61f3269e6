/**
 * Trees of Debian, which test/setup.sh makes. One of a later Debian than the machine's is the root of a mount namespace, for
 * runtimes that the machine's own Debian lacks. /tmp, /proc, /sys, /dev and the network are the machine's.
 */
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TEST_CACHE } from './cache.ts';
import { Program, runOk } from './program.ts';

/** trixie: podman 5, containerd 1.7; forky: containerd 2. */
export type Suite = 'trixie' | 'forky';
/** Trees that tests take a copy of: Debian 12 with little in it, and one that can be booted. */
export type Model = 'bookworm' | 'bookworm-systemd';

/** Path of a program of the tree; `requires` can be asked for it. */
export function inTree(suite: Suite | Model, program: string): string {
  return join(TEST_CACHE, suite, 'usr/bin', program);
}

/** Makes `root` a copy of the tree. */
export async function copyTree(model: Model, root: string): Promise<void> {
  await runOk('cp', ['--archive', '--reflink=auto', join(TEST_CACHE, model), root]);
}

export class DebianTree implements AsyncDisposable {
  readonly #holder: Program;

  private constructor(holder: Program) {
    this.#holder = holder;
  }

  static async enter(suite: Suite): Promise<DebianTree> {
    const tree = join(TEST_CACHE, suite);
    if (!existsSync(tree)) throw new Error(`${tree} is missing: run test/setup.sh`);
    const args = ['--mount', 'sh', '-c', ENTER, 'enter', tree, tmpdir()];
    const holder = await Program.start({ command: 'unshare', args });
    try {
      await holder.line(/the tree is ready/);
      return new DebianTree(holder);
    } catch (error) {
      await holder.stop('SIGKILL');
      throw error;
    }
  }

  /** Argv in front of a command that runs in the tree. */
  get within(): readonly string[] {
    const enter = ['nsenter', '--target', String(this.#holder.pid), '--mount', '--'];
    // The working folder of the tests is outside of the tree.
    return [...enter, 'sh', '-c', `cd / && PATH=${PATH} exec "$0" "$@"`];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#holder.stop('SIGKILL');
  }
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

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
