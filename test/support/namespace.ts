/**
 * A network and a mount namespace of the test's own: nothing inside reaches the outside world, ports are its own,
 * and /etc/hosts is private. cgroups and everything else stay the machine's, as runc and dockerd need them.
 */
import { appendFile, writeFile } from 'node:fs/promises';
import { Program } from './program.ts';
import { TempDir } from './temp.ts';

export class Namespace implements AsyncDisposable {
  /** Argv that runs a program inside. */
  readonly enter: readonly string[];
  /** A process inside. */
  readonly pid: number;
  readonly #dir: TempDir;
  readonly #holder: Program;

  private constructor(dir: TempDir, holder: Program) {
    this.#dir = dir;
    this.#holder = holder;
    this.pid = holder.pid;
    this.enter = ['nsenter', '--target', String(this.pid), '--net', '--mount', '--'];
  }

  /** `hosts` become 127.0.0.1 inside. */
  static async create(...hosts: readonly string[]): Promise<Namespace> {
    const dir = await TempDir.create('namespace');
    const entries = ['localhost', ...hosts].map((host) => `127.0.0.1 ${host}\n`).join('');
    await writeFile(dir.join('hosts'), entries);
    const script = [
      'set -e',
      'mount --make-rprivate /',
      `mount --bind ${dir.join('hosts')} /etc/hosts`,
      'ip link set lo up',
      'echo namespace is ready',
      'exec sleep infinity',
    ].join('\n');
    const holder = await Program.start({
      command: 'unshare',
      args: ['--net', '--mount', 'sh', '-c', script],
    });
    try {
      await holder.line(/namespace is ready/);
      return new Namespace(dir, holder);
    } catch (error) {
      await dir[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Adds an address of a name to its /etc/hosts. */
  async addHost(name: string, address: string): Promise<void> {
    await appendFile(this.#dir.join('hosts'), `${address} ${name}\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#holder.stop('SIGKILL');
    await this.#dir[Symbol.asyncDispose]();
  }
}
