/**
 * A booted Debian: its own systemd, as process 1 of namespaces and a cgroup of its own. Things that the kernel has only
 * once (/sys, /proc/sys, devices) are read-only or made anew, so nothing of the machine changes.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { MINUTE } from '../../src/util/clock.ts';
import { copyTree, inTree } from './debian-tree.ts';
import { Program, run, runOk, type Result } from './program.ts';

const MODEL = 'bookworm-systemd';

/** Programs that it needs, for `requires`. */
export const BOOTING: readonly string[] = ['root', inTree(MODEL, 'systemctl'), 'unshare', 'nsenter', 'ip'];

const BOOT_TIMEOUT = MINUTE;

export class BootedDebian implements AsyncDisposable {
  readonly #holder: Program;
  readonly #cgroup: string;
  #init = '';

  private constructor(holder: Program, cgroup: string) {
    this.#holder = holder;
    this.#cgroup = cgroup;
  }

  /** Puts a Debian with systemd into `root`. */
  static async putUp(root: string): Promise<void> {
    await copyTree(MODEL, root);
  }

  static async boot(root: string): Promise<BootedDebian> {
    const holder = await Program.start({ command: 'sh', args: ['-c', HOLD, 'hold', INIT, root] });
    const [, cgroup = ''] = await holder.line(/^cgroup (.+)$/);
    const booted = new BootedDebian(holder, cgroup);
    try {
      await holder.line(/^booting$/);
      await booted.#running();
      return booted;
    } catch (error) {
      await booted[Symbol.asyncDispose]();
      throw error;
    }
  }

  async run(...argv: readonly string[]): Promise<Result> {
    const [command = '', ...args] = argv;
    const within = ['nsenter', '--target', this.#init, '--mount', '--pid', '--ipc', '--uts', '--net', '--'];
    return run(command, args, { within, env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
  }

  async ok(...argv: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...argv);
    if (code !== 0) throw new Error(`${argv.join(' ')} ended with code ${code}\n${stdout}\n${stderr}`);
    return stdout;
  }

  /** Kills all its processes, and removes the cgroups that it has made. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#holder.stop('SIGKILL'); // --kill-child: process 1 dies with it, and all others with process 1
    for (let tries = 0; tries < 100; tries++) {
      const { code } = await run('find', [this.#cgroup, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', '+']);
      if (code === 0) return;
      await delay(50); // the kernel is still taking its processes down
    }
    throw new Error(`${this.#cgroup} cannot be removed`);
  }

  async #running(): Promise<void> {
    const { pid } = this.#holder;
    this.#init = (await runOk('cat', [`/proc/${pid}/task/${pid}/children`])).trim();
    for (const deadline = Date.now() + BOOT_TIMEOUT; ;) {
      // Degraded: some units cannot run in a container.
      const { stdout } = await this.run('systemctl', 'is-system-running', '--wait');
      if (/^(running|degraded)$/m.test(stdout)) return;
      if (Date.now() > deadline) throw this.#holder.failure(`systemd has not booted: ${stdout}`);
      await delay(50); // nobody listens at its socket yet
    }
  }
}

/** $1: the script of process 1; $2: the root. */
const HOLD = `set -e
cgroups=/sys/fs/cgroup
if [ -d $cgroups/systemd ]; then cgroups=$cgroups/systemd; fi
mkdir $cgroups/weir-test-$$
echo "cgroup $cgroups/weir-test-$$"
echo $$ > $cgroups/weir-test-$$/cgroup.procs
exec unshare --mount --pid --ipc --uts --net --cgroup --fork --kill-child sh -c "$1" init "$2"
`;

/** $1: the root. systemd changes the mode of its console, which must not be the machine's. */
const INIT = `set -e
ip link set lo up
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
if [ -d /sys/fs/cgroup/systemd ]; then
  mount -t tmpfs tmpfs sys/fs/cgroup
  mkdir sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd,xattr cgroup sys/fs/cgroup/systemd
else
  mount -t cgroup2 cgroup2 sys/fs/cgroup
fi
for folder in run tmp; do mount -t tmpfs tmpfs $folder; done
mount -t tmpfs -o mode=755 dev dev
for device in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 dev/\${device%:*} c 1 \${device#*:}; done
mknod -m 600 dev/console c 1 3
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
mkdir run/old
pivot_root . run/old
umount --lazy /run/old
echo booting
exec env container=weir-test /lib/systemd/systemd
`;
