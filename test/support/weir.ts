/** A weir node under test: the real command, a data folder of its own, ports chosen by the kernel. */
import { rename, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { StatusReport } from '../../src/status/status-report.ts';
import { Metrics } from './metrics.ts';
import { Program, run, runOk, type Exit, type Result } from './program.ts';
import { TempDir } from './temp.ts';

export const WEIR: string = fileURLToPath(new URL('../../src/cli/weir', import.meta.url));

/** The command, and its arguments before the subcommand. */
export type NodeProgram = readonly [string, ...string[]];

/** An entry of the YAML section `registries`. */
export type RegistryEntry = Readonly<Record<string, string | boolean | readonly string[]>>;

export type Sections = Readonly<Record<string, Readonly<Record<string, string>>>>;

export interface WeirOptions {
  /** By key: `{ 'tags.ttl': '0s' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly registries?: Readonly<Record<string, RegistryEntry>>;
  /** Sections of the configuration file, instead of flags: `{ tags: { ttl: '0s' } }`. */
  readonly sections?: Sections;
  readonly env?: Readonly<Record<string, string>>;
  readonly within?: readonly string[];
  /** Command to run; default: the sources. */
  readonly program?: NodeProgram;
  /** Milliseconds within which it must be ready; many nodes that start at once take longer than one. */
  readonly readyWithin?: number;
}

export class WeirNode implements AsyncDisposable {
  readonly #dir: TempDir;
  readonly #options: WeirOptions;
  #program: Program;
  #addresses: Addresses;

  private constructor(dir: TempDir, options: WeirOptions, program: Program, addresses: Addresses) {
    this.#dir = dir;
    this.#options = options;
    this.#program = program;
    this.#addresses = addresses;
  }

  static async start(options: WeirOptions = {}): Promise<WeirNode> {
    const dir = await TempDir.create('node');
    try {
      const program = await launch(dir, options);
      return new WeirNode(dir, options, program, await addressesOf(program, options));
    } catch (error) {
      await dir[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** `http://127.0.0.1:PORT` of the mirror. */
  get url(): string {
    return this.#addresses.mirror;
  }

  /** `127.0.0.1:PORT` of the mirror. */
  get host(): string {
    return new URL(this.url).host;
  }

  get adminUrl(): string {
    return this.#addresses.admin;
  }

  get dataFolder(): string {
    return dataFolder(this.#dir);
  }

  get pid(): number {
    return this.#program.pid;
  }

  /** Its log. */
  get log(): string {
    return this.#program.lines.join('\n');
  }

  /** Waits for a line of the log, past or to come. */
  async logged(pattern: RegExp, timeout?: number): Promise<void> {
    await this.#program.line(pattern, timeout === undefined ? {} : { timeout });
  }

  /** URL of `/v2/<path>` for a registry named by `?ns=`, as containerd asks. */
  urlOf(registry: string, path: string): string {
    return `${this.url}/v2/${path}?ns=${encodeURIComponent(registry)}`;
  }

  async metrics(): Promise<Metrics> {
    return new Metrics(await this.#admin('/metrics'));
  }

  /** The output of `weir status --json`. */
  async status(): Promise<StatusReport> {
    return JSON.parse(await this.#admin('/v1/status')) as StatusReport;
  }

  async #admin(path: string): Promise<string> {
    const url = this.adminUrl + path;
    const { within } = this.#options;
    if (within === undefined) return (await fetch(url)).text();
    // In another network namespace only a program started there reaches it.
    return runOk('/bin/busybox', ['wget', '-q', '-O', '-', url], { within });
  }

  /** Kills it: nothing is flushed. */
  async kill(): Promise<void> {
    await this.#program.stop('SIGKILL');
  }

  /** SIGTERM, and waits for its end. */
  async terminate(): Promise<Exit> {
    return this.#program.stop('SIGTERM');
  }

  signal(signal: NodeJS.Signals): void {
    this.#program.signal(signal);
  }

  /** Replaces its configuration file, which the running node reads again. */
  async configure(changes: Pick<WeirOptions, 'registries' | 'sections'>): Promise<void> {
    await this.configureText(fileOf({ ...this.#options, ...changes }));
  }

  /** The same with any text. */
  async configureText(text: string): Promise<void> {
    await writeFile(this.#dir.join('next.yaml'), text);
    await rename(this.#dir.join('next.yaml'), this.#dir.join('config.yaml'));
  }

  /** How it ends. */
  get exited(): Promise<Exit> {
    return this.#program.exited;
  }

  /** Starts it again on the same data folder and the same ports, with other settings if they are given. */
  async restart(changes: Pick<WeirOptions, 'settings' | 'registries'> = {}): Promise<void> {
    await this.terminate();
    const ports = { 'mirror.listen': this.host, 'admin.listen': new URL(this.adminUrl).host };
    this.#program = await launch(this.#dir, {
      ...this.#options,
      ...changes,
      settings: { ...ports, ...this.#options.settings, ...changes.settings },
    });
    this.#addresses = await addressesOf(this.#program, this.#options);
  }

  /** Another node on this one's data folder, run to its end. */
  async rival(): Promise<Result> {
    const [command, ...args] = programOf(this.#options);
    return run(command, [...args, ...argsOf(this.#dir, this.#options)], { timeout: 20_000 });
  }

  failure(problem: string): Error {
    return this.#program.failure(problem);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.terminate();
    await this.#dir[Symbol.asyncDispose]();
  }
}

interface Addresses {
  readonly mirror: string;
  readonly admin: string;
}

async function launch(dir: TempDir, options: WeirOptions): Promise<Program> {
  await writeFile(dir.join('config.yaml'), fileOf(options));
  const [command, ...args] = programOf(options);
  return Program.start({
    command,
    args: [...args, ...argsOf(dir, options)],
    env: { ...options.env },
    ...(options.within && { within: options.within }),
  });
}

function fileOf({ registries = {}, sections = {} }: WeirOptions): string {
  return JSON.stringify({ ...sections, registries }); // is YAML
}

function programOf({ program = [WEIR] }: WeirOptions): NodeProgram {
  return program;
}

function argsOf(dir: TempDir, options: WeirOptions): readonly string[] {
  const settings = {
    'data.dir': dataFolder(dir),
    'mirror.listen': '127.0.0.1:0',
    'admin.listen': '127.0.0.1:0',
    'cluster.listen': '127.0.0.1:0',
    'transfer.listen': '127.0.0.1:0',
    'store.runtime-content': 'none',
    // However full the machine's own disk is.
    'store.shrink-below': '0%',
    'store.stop-below': '0%',
    'log.level': 'debug',
    ...options.settings,
  };
  const inFile = new Set(
    Object.entries(options.sections ?? {}).flatMap(([section, values]) =>
      Object.keys(values).map((name) => `${section}.${name}`),
    ),
  );
  const named = Object.entries(settings).filter(([key]) => !inFile.has(key));
  const flags = named.flatMap(([key, value]) => [`--${key.replaceAll('.', '-')}`, value]);
  return ['node', '--config', dir.join('config.yaml'), ...flags];
}

function dataFolder(dir: TempDir): string {
  return dir.join('data');
}

async function addressesOf(program: Program, { readyWithin }: WeirOptions): Promise<Addresses> {
  const options = readyWithin === undefined ? {} : { timeout: readyWithin };
  const [mirror] = await program.line(/^.*"msg":"mirror listening".*$/, options);
  const [admin] = await program.line(/^.*"msg":"admin listening".*$/, options);
  await program.line(/"msg":"ready"/, options);
  const [mirrorUrl, adminUrl] = [mirror, admin].map(
    (line) => (JSON.parse(line) as { addresses: string[] }).addresses[0],
  );
  if (mirrorUrl === undefined) throw program.failure('it names no address of its mirror');
  if (adminUrl === undefined) throw program.failure('it names no admin address');
  return { mirror: mirrorUrl, admin: adminUrl };
}
