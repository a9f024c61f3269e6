/** podman and skopeo, with a registries.conf and a storage of the test's own. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { MINUTE } from '../../src/util/clock.ts';
import { Program, run, type Result } from './program.ts';
import { TempDir } from './temp.ts';

const PULL_TIMEOUT = 3 * MINUTE;

export interface MirroredRegistry {
  /** The registry as images name it; no port, because a mirror's path cannot hold a colon. */
  readonly registry: string;
  /** Its real address: `127.0.0.1:5000`. */
  readonly location: string;
  /** `127.0.0.1:PORT` of the mirror; none: straight to the registry. */
  readonly mirror?: string;
}

export class Containers implements AsyncDisposable {
  readonly #dir: TempDir;
  readonly #within: readonly string[];

  private constructor(dir: TempDir, within: readonly string[] = []) {
    this.#dir = dir;
    this.#within = within;
  }

  /** With the `/etc/containers` of a machine whose root folder is `root`. */
  static async ofMachine(root: string): Promise<Containers> {
    const own = await Containers.create();
    await rm(own.#dir.join('.config'), { recursive: true });
    const mount = `mount --bind ${root}/etc/containers /etc/containers && exec "$@"`;
    return new Containers(own.#dir, ['unshare', '--mount', 'sh', '-c', mount, 'sh']);
  }

  static async create(...registries: readonly MirroredRegistry[]): Promise<Containers> {
    const dir = await TempDir.create('containers');
    await mkdir(dir.join('tmp'));
    await mkdir(dir.join('.config', 'containers'), { recursive: true });
    await writeFile(dir.join('.config', 'containers', 'registries.conf'), registriesConf(registries));
    await writeFile(dir.join('auth.json'), '{}');
    await writeFile(
      dir.join('policy.json'),
      JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }),
    );
    await writeFile(dir.join('storage.conf'), storageConf(dir));
    await writeFile(dir.join('containers.conf'), CONTAINERS_CONF);
    return new Containers(dir);
  }

  async podman(...args: readonly string[]): Promise<Result> {
    return run('podman', this.#podmanArgs(args), {
      env: this.#env(),
      timeout: PULL_TIMEOUT,
      within: this.#within,
    });
  }

  /** Runs a podman command that goes on, such as `run`. */
  async startPodman(...args: readonly string[]): Promise<Program> {
    return Program.start({
      command: 'podman',
      args: this.#podmanArgs(args),
      env: this.#env(),
      within: this.#within,
    });
  }

  async podmanPull(image: string): Promise<Result> {
    return this.podman('pull', '--signature-policy', this.#dir.join('policy.json'), image);
  }

  /** Copies to a new `dir:` folder; resolves to the result and to that folder. */
  async skopeoCopy(
    image: string,
    ...flags: readonly string[]
  ): Promise<{ readonly result: Result; readonly folder: string }> {
    const folder = this.#dir.join(`copy-${process.hrtime.bigint()}`);
    const args = ['copy', ...flags, `docker://${image}`, `dir:${folder}`];
    return { result: await this.skopeo(...args), folder };
  }

  async skopeo(...args: readonly string[]): Promise<Result> {
    const all = ['--policy', this.#dir.join('policy.json'), ...args];
    return run('skopeo', all, { env: this.#env(), timeout: PULL_TIMEOUT, within: this.#within });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dir[Symbol.asyncDispose]();
  }

  #podmanArgs(args: readonly string[]): readonly string[] {
    const own = ['--root', this.#dir.join('root'), '--runroot', this.#dir.join('run')];
    return [...own, '--storage-driver', 'vfs', '--tmpdir', this.#dir.join('tmp'), ...args];
  }

  #env(): Record<string, string> {
    return {
      CONTAINERS_STORAGE_CONF: this.#dir.join('storage.conf'),
      CONTAINERS_CONF: this.#dir.join('containers.conf'),
      REGISTRY_AUTH_FILE: this.#dir.join('auth.json'),
      TMPDIR: this.#dir.join('tmp'),
      HOME: this.#dir.path, // skopeo takes registries.conf from there only
      XDG_CONFIG_HOME: this.#dir.join('.config'),
    };
  }
}

/** Without systemd: runc, plain cgroup files, events in a file. */
const CONTAINERS_CONF = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
`;

function storageConf(dir: TempDir): string {
  return `[storage]
driver = "vfs"
graphroot = "${dir.join('root')}"
runroot = "${dir.join('run')}"
`;
}

function registriesConf(registries: readonly MirroredRegistry[]): string {
  return registries
    .map(({ registry, location, mirror }) =>
      [
        '[[registry]]',
        `prefix = "${registry}"`,
        `location = "${location}"`,
        'insecure = true',
        ...(mirror === undefined
          ? []
          : ['[[registry.mirror]]', `location = "${mirror}/${registry}"`, 'insecure = true']),
      ].join('\n'),
    )
    .join('\n');
}
