/** A machine's root folder in a temporary one, with all runtimes "installed". */
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { configureHost, restoreHost, type Outcome } from '../../../../src/cli/runtimes/host-setup.ts';
import { STATE_FOLDER } from '../../../../src/host/original-files.ts';
import type { Runtime, Wish } from '../../../../src/cli/runtimes/target.ts';
import { TempDir } from '../../../support/temp.ts';

export const MIRROR = 'http://127.0.0.1:4770';

export const PATHS = {
  containerdConfig: '/etc/containerd/config.toml',
  hosts: '/etc/containerd/certs.d/_default/hosts.toml',
  docker: '/etc/docker/daemon.json',
  containersMain: '/etc/containers/registries.conf',
  containers: '/etc/containers/registries.conf.d/99-weir.conf',
  k3s: '/etc/rancher/k3s/registries.yaml',
} as const;

export class Machine implements AsyncDisposable {
  readonly #dir: TempDir;

  private constructor(dir: TempDir) {
    this.#dir = dir;
  }

  static async create(files: Readonly<Record<string, string>> = {}): Promise<Machine> {
    const machine = new Machine(await TempDir.create('machine'));
    await mkdir(machine.path('/var/lib'), { recursive: true });
    for (const [path, text] of Object.entries(files)) await machine.write(path, text);
    return machine;
  }

  path(path: string): string {
    return join(this.#dir.path, path);
  }

  async write(path: string, text: string): Promise<void> {
    await mkdir(dirname(this.path(path)), { recursive: true });
    await writeFile(this.path(path), text);
  }

  async read(path: string): Promise<string> {
    return readFile(this.path(path), 'utf8');
  }

  configure(wish: Partial<Wish> = {}, only?: readonly Runtime[], dryRun = false): Promise<Outcome> {
    const whole = {
      mirrorUrl: MIRROR,
      registries: ['_default'],
      direct: [],
      resolve: 'mirror' as const,
      ...wish,
    };
    return configureHost(whole, this.#options(only, dryRun));
  }

  restore(only?: readonly Runtime[], dryRun = false): Promise<Outcome> {
    return restoreHost(this.#options(only, dryRun));
  }

  /** Every file and folder with its mode, and what is in it. */
  async snapshot(): Promise<Readonly<Record<string, string>>> {
    const found: Record<string, string> = {};
    const entries = await readdir(this.#dir.path, { recursive: true, withFileTypes: true });
    for (const entry of entries) {
      const file = join(entry.parentPath, entry.name);
      const { mode } = await stat(file);
      found[file.slice(this.#dir.path.length)] =
        `${mode.toString(8)} ${entry.isDirectory() ? '' : await readFile(file, 'latin1')}`;
    }
    return found;
  }

  #options(runtimes: readonly Runtime[] | undefined, dryRun: boolean) {
    return { root: this.#dir.path, stateFolder: STATE_FOLDER, runtimes, dryRun };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dir[Symbol.asyncDispose]();
  }
}
