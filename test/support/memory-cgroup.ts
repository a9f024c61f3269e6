/** A cgroup whose processes are killed if they need more memory than its limit, as in a container. */
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SECOND } from '../../src/util/clock.ts';

/** Names of the limit in the two versions (cgroup-v2.rst; cgroup-v1/memory.rst). */
const FILES = {
  cgroup2: { limit: 'memory.max' },
  cgroup: { limit: 'memory.limit_in_bytes' },
} as const;

export class MemoryCgroup implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Undefined if this machine does not allow one. @param bytes its limit */
  static async create(bytes: number): Promise<MemoryCgroup | undefined> {
    const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' '));
    for (const [, mount = '', type = '', flags = ''] of mounts) {
      if (type !== 'cgroup2' && !(type === 'cgroup' && flags.split(',').includes('memory'))) continue;
      const folder = join(mount, `weir-test-${process.pid}-${process.hrtime.bigint()}`);
      try {
        await mkdir(folder);
      } catch {
        continue;
      }
      try {
        await writeFile(join(folder, FILES[type].limit), String(bytes));
        return new MemoryCgroup(folder);
      } catch {
        await rmdir(folder); // the memory controller is somewhere else
      }
    }
    return undefined;
  }

  /** Argv that starts a command in it. */
  starting(command: string): readonly [string, ...string[]] {
    return ['/bin/sh', '-c', `echo $$ > ${join(this.#folder, 'cgroup.procs')} && exec "$0" "$@"`, command];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const deadline = Date.now() + 10 * SECOND; ; await delay(50)) {
      try {
        return await rmdir(this.#folder);
      } catch (error) {
        if (Date.now() > deadline) throw error; // a process is left in it
      }
    }
  }
}
