/** Folders that a test owns: made under the system's temporary folder and gone when the test ends. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './program.ts';

export class TempDir implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(name: string): Promise<TempDir> {
    return new TempDir(await mkdtemp(join(tmpdir(), `weir-test-${name}-`)));
  }

  join(...parts: readonly string[]): string {
    return join(this.path, ...parts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const mountPoint of await mountsBelow(this.path)) await run('umount', ['--lazy', mountPoint]);
    await rm(this.path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

/** Mounts that a runtime left (overlay, shm, netns) below `path`, the deepest first. */
async function mountsBelow(path: string): Promise<readonly string[]> {
  const table = await readFile('/proc/self/mounts', 'utf8');
  return table
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((mountPoint) => mountPoint.startsWith(`${path}/`))
    .toSorted((a, b) => b.length - a.length);
}
