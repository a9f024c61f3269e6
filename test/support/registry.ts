/**
 * Debian's docker-registry as upstream: open, behind htpasswd or a token server, with or without TLS.
 *
 * Several of them may share one storage folder: a test pushes through an open one and pulls from a guarded one.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AccessLog } from './access-log.ts';
import type { Certificate } from './certificates.ts';
import { Program, runOk } from './program.ts';
import { TempDir } from './temp.ts';

/** Settings of `auth.token` in docker-registry's configuration. */
export interface TokenAuth {
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  /** Path of a PEM bundle: a token's key must chain to it. */
  readonly rootCertBundle: string;
}

export interface RegistryOptions {
  /** Storage folder; default: one of its own. */
  readonly storage?: string;
  /** Default `127.0.0.1:0`. */
  readonly listen?: string;
  /** Name and password of each user. */
  readonly users?: Readonly<Record<string, string>>;
  readonly tokenAuth?: TokenAuth;
  readonly tls?: Certificate;
  /** PEM file of the authority whose certificate a client must show; with `tls`. */
  readonly clientAuthority?: string;
  /** URL of a registry: this one is a pull-through cache of it. */
  readonly remote?: string;
  readonly within?: readonly string[];
}

export class Registry implements AsyncDisposable {
  readonly storage: string;
  /** `127.0.0.1:PORT`: how images name it. */
  readonly host: string;
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  readonly accessLog: AccessLog;
  readonly #dir: TempDir;
  readonly #options: RegistryOptions;
  #program: Program;

  private constructor(
    dir: TempDir,
    options: RegistryOptions,
    program: Program,
    host: string,
    log: AccessLog,
  ) {
    this.#dir = dir;
    this.#options = options;
    this.#program = program;
    this.storage = storageFolder(dir, options);
    this.host = host;
    this.url = `${options.tls ? 'https' : 'http'}://${host}`;
    this.accessLog = log;
  }

  static async start(options: RegistryOptions = {}): Promise<Registry> {
    const dir = await TempDir.create('registry');
    try {
      const log = new AccessLog();
      const program = await launch(dir, options, options.listen ?? '127.0.0.1:0', log);
      const [, host = ''] = await program.line(/listening on ([^",\s]+)/);
      return new Registry(dir, options, program, host, log);
    } catch (error) {
      await dir[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pid(): number {
    return this.#program.pid;
  }

  /** Its log. */
  get log(): string {
    return this.#program.lines.join('\n');
  }

  get port(): number {
    return Number(this.host.slice(this.host.lastIndexOf(':') + 1));
  }

  /** Stops listening and cuts running responses. */
  async stop(): Promise<void> {
    await this.#program.stop('SIGKILL');
  }

  /** Comes back on the same port with the same content. */
  async restart(): Promise<void> {
    await this.stop();
    this.#program = await launch(this.#dir, this.#options, this.host, this.accessLog);
    await this.#program.line(/listening on /);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#dir[Symbol.asyncDispose]();
  }
}

function storageFolder(dir: TempDir, options: RegistryOptions): string {
  return options.storage ?? dir.join('storage');
}

async function launch(
  dir: TempDir,
  options: RegistryOptions,
  listen: string,
  log: AccessLog,
): Promise<Program> {
  const { users, tokenAuth, tls, clientAuthority, remote, within } = options;
  const config = {
    version: '0.1',
    log: { level: 'info' }, // "listening on" is logged at that level
    storage: { filesystem: { rootdirectory: storageFolder(dir, options), maxthreads: 100 } },
    http: {
      addr: listen,
      secret: 'shared-by-all-registries-of-the-tests',
      ...(tls && {
        tls: {
          certificate: tls.cert,
          key: tls.key,
          ...(clientAuthority !== undefined && { clientcas: [clientAuthority] }),
        },
      }),
    },
    ...(remote !== undefined && { proxy: { remoteurl: remote } }),
    ...(users && { auth: { htpasswd: { realm: 'weir-test', path: await htpasswd(dir.path, users) } } }),
    ...(tokenAuth && {
      auth: {
        token: {
          realm: tokenAuth.realm,
          service: tokenAuth.service,
          issuer: tokenAuth.issuer,
          rootcertbundle: tokenAuth.rootCertBundle,
        },
      },
    }),
  };
  const file = dir.join('registry.yml');
  await writeFile(file, JSON.stringify(config)); // JSON is YAML
  const program = await Program.start({
    command: 'docker-registry',
    args: ['serve', file],
    env: { OTEL_TRACES_EXPORTER: 'none' },
    within,
  });
  program.onLine((line) => log.add(line));
  return program;
}

async function htpasswd(folder: string, users: Readonly<Record<string, string>>): Promise<string> {
  const lines = await Promise.all(
    Object.entries(users).map(([user, password]) =>
      runOk('htpasswd', ['-i', '-B', '-n', user], { input: password }),
    ),
  );
  const file = join(folder, 'htpasswd');
  await writeFile(file, lines.map((line) => line.trim()).join('\n'));
  return file;
}
