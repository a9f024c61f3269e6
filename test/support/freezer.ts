/** A cgroup whose processes are frozen together, as `docker pause` does it (cgroup-v2.rst, cgroup.freeze). */
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SECOND } from '../../src/util/clock.ts';

export class Freezer implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes the cgroup below the mount of version 2, which stands alone or beside version 1. */
  static async create(): Promise<Freezer> {
    const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' '));
    const mount = mounts.find(([, , type]) => type === 'cgroup2')?.[1];
    if (mount === undefined) throw new Error('no cgroup of version 2 is mounted');
    const folder = join(mount, `weir-test-${process.pid}-${process.hrtime.bigint()}`);
    await mkdir(folder);
    return new Freezer(folder);
  }

  /** Adds a process and its children, which have none themselves. */
  async freeze(pid: number): Promise<void> {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'latin1');
    for (const each of [String(pid), ...children.split(' ').filter(Boolean)]) {
      await writeFile(join(this.#folder, 'cgroup.procs'), each);
    }
    await writeFile(join(this.#folder, 'cgroup.freeze'), '1');
    await this.#until('cgroup.events', /^frozen 1$/m);
  }

  /** Kills all, as a runtime ends a frozen container. */
  async kill(): Promise<void> {
    const pids = await readFile(join(this.#folder, 'cgroup.procs'), 'latin1');
    for (const pid of pids.split('\n').filter(Boolean)) process.kill(Number(pid), 'SIGKILL');
    await this.#until('cgroup.events', /^populated 0$/m);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await rmdir(this.#folder);
  }

  async #until(file: string, pattern: RegExp): Promise<void> {
    for (const deadline = Date.now() + 10 * SECOND; ; await delay(10)) {
      const text = await readFile(join(this.#folder, file), 'latin1');
      if (pattern.test(text)) return;
      if (Date.now() > deadline) throw new Error(`${file} is ${text}`);
    }
  }
}
