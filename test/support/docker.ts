/** A private dockerd, and the docker command that talks to it. */
import { writeFile } from 'node:fs/promises';
import { MINUTE } from '../../src/clock.ts';
import { Program, run, runOk, type Result } from './program.ts';
import { TempDir } from './temp.ts';

const PULL_TIMEOUT: number = 3 * MINUTE;

export interface DockerOptions {
  /** URLs; they stand for docker.io alone. */
  readonly registryMirrors?: readonly string[];
  readonly insecureRegistries?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly within?: readonly string[];
}

export class Docker implements AsyncDisposable {
  readonly #dir: TempDir;
  readonly #program: Program;

  private constructor(dir: TempDir, program: Program) {
    this.#dir = dir;
    this.#program = program;
  }

  static async start(options: DockerOptions = {}): Promise<Docker> {
    const { registryMirrors = [], insecureRegistries = [], env = {}, within } = options;
    const dir = await TempDir.create('docker');
    const config = {
      'registry-mirrors': registryMirrors,
      'insecure-registries': insecureRegistries,
      'storage-driver': 'vfs', // overlay on overlay fails where the tests run in a container
    };
    await writeFile(dir.join('daemon.json'), JSON.stringify(config));
    const program = await Program.start({
      command: 'dockerd',
      args: [
        ['--config-file', dir.join('daemon.json'), '--host', `unix://${dir.join('docker.sock')}`],
        ['--data-root', dir.join('data'), '--exec-root', dir.join('exec'), '--pidfile', dir.join('pid')],
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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.stop();
    await this.#dir[Symbol.asyncDispose]();
  }

  #args(args: readonly string[]): readonly string[] {
    return ['--config', this.#dir.path, '--host', `unix://${this.#dir.join('docker.sock')}`, ...args];
  }
}
