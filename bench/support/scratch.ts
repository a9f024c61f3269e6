/** One folder for all files of a run; it is removed at the end, however the run ends. */
import { mkdtempSync, rmSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatBytes } from '../../src/cli/client/format.ts';
import { run } from '../../test/support/program.ts';

export class Scratch implements AsyncDisposable {
  readonly path: string;
  readonly #outer: string | undefined;
  /** For an exit that does not wait, such as a second Ctrl-C. */
  readonly #remove = (): void => rmSync(this.path, { recursive: true, force: true, maxRetries: 5 });

  private constructor() {
    this.#outer = process.env['TMPDIR'];
    this.path = mkdtempSync(join(tmpdir(), 'weir-bench-'));
    process.once('exit', this.#remove);
    // Programs of test/support make folders in the temporary folder: they are removed with this one.
    process.env['TMPDIR'] = this.path;
  }

  /** @param bytes that must be free */
  static async create(bytes: number): Promise<Scratch> {
    const { bavail, bsize } = await statfs(tmpdir());
    if (bavail * bsize < bytes) {
      throw new Error(
        `${formatBytes(bytes)} of disk are needed, and ${tmpdir()} has ${formatBytes(bavail * bsize)}: ` +
          'free some, or name another folder by TMPDIR',
      );
    }
    return new Scratch();
  }

  join(...parts: readonly string[]): string {
    return join(this.path, ...parts);
  }

  /** Flushes pending writes to the disk, so the kernel does not do so during the next measurement. */
  async settle(): Promise<void> {
    await run('sync', ['--file-system', this.path]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#outer === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = this.#outer;
    this.#remove();
    process.off('exit', this.#remove);
  }
}
