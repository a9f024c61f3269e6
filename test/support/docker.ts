/** A private dockerd, and the docker command that talks to it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MINUTE } from '../../src/util/clock.ts';
import { Program, run, runOk, type Result } from './program.ts';
import { TempDir } from './temp.ts';

const PULL_TIMEOUT = 3 * MINUTE;

export interface DockerOptions {
  /** URLs; they stand for docker.io alone. */
  readonly registryMirrors?: readonly string[];
  readonly insecureRegistries?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly within?: readonly string[];
  /** The machine's root folder, whose `/etc/docker/daemon.json` and `/var/run/docker.pid` it uses; default: its own. */
  readonly root?: string;
}

export class Docker implements AsyncDisposable {
  readonly #dir: TempDir;
  readonly #program: Program;

  private constructor(dir: TempDir, program: Program) {
    this.#dir = dir;
    this.#program = program;
  }

  static async start(options: DockerOptions = {}): Promise<Docker> {
    const { registryMirrors = [], insecureRegistries = [], env = {}, within, root } = options;
    const dir = await TempDir.create('docker');
    const config = {
      'registry-mirrors': registryMirrors,
      'insecure-registries': insecureRegistries,
      'storage-driver': 'vfs', // overlay on overlay fails where the tests run in a container
    };
    const file = root === undefined ? dir.join('daemon.json') : join(root, 'etc/docker/daemon.json');
    const pid = root === undefined ? dir.join('pid') : join(root, 'var/run/docker.pid');
    await writeFile(file, JSON.stringify(config));
    const program = await Program.start({
      command: 'dockerd',
      args: [
        ['--config-file', file, '--host', `unix://${dir.join('docker.sock')}`],
        ['--data-root', dir.join('data'), '--exec-root', dir.join('exec'), '--pidfile', pid],
        ['--iptables=false', '--ip6tables=false', '--bridge=none', '--ip-forward=false'],
      ].flat(),
      env,
      within,
    });
    const docker = new Docker(dir, program);
    try {
      await program.line(/API listen on /);
      return docker;
    } catch (error) {
      await docker[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** As DOCKER_HOST has it. */
  get host(): string {
    return `unix://${this.#dir.join('docker.sock')}`;
  }

  async command(args: readonly string[]): Promise<Result> {
    return run('docker', this.#args(args), { timeout: PULL_TIMEOUT });
  }

  async commandOk(args: readonly string[]): Promise<string> {
    try {
      return await runOk('docker', this.#args(args), { timeout: PULL_TIMEOUT });
    } catch (cause) {
      throw new Error(`${String(cause)}\n${this.#program.failure('its log').message}`, { cause });
    }
  }

  /** Runs a docker command that goes on, such as `run`. */
  async start(args: readonly string[]): Promise<Program> {
    return Program.start({ command: 'docker', args: this.#args(args) });
  }

  async pull(image: string): Promise<Result> {
    return this.command(['pull', image]);
  }

  /** Waits for a line of its log, past or to come. */
  async logged(pattern: RegExp): Promise<void> {
    await this.#program.line(pattern);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.stop();
    await this.#dir[Symbol.asyncDispose]();
  }

  #args(args: readonly string[]): readonly string[] {
    return ['--config', this.#dir.path, '--host', this.host, ...args];
  }
}
