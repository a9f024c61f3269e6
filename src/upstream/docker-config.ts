/**
 * Credentials from a docker `config.json`, or podman's `auth.json`: `auths`, `credHelpers` and `credsStore`.
 *
 * A key of `auths` is a registry, or a part of one (containers-auth.json(5)): `quay.io/team` speaks for the repositories
 * below it, and wins over `quay.io`. docker would take both for the registry; Weir gives a credential no wider meaning.
 *
 * The file is read again when its modification time changes. Results are kept for some minutes, as each helper call
 * runs a program. A file or helper that does not work is reported and counts as empty: pulls of public images must go
 * on. A file that could be read before, and is broken now, is not taken: it may be half written.
 *
 * `credsStore` is asked for every registry, as docker does (cli, configfile.GetAuthConfig), because helpers of clouds
 * work without an entry in `auths`. Callers name the registries, so few helpers run at a time, and registries that
 * the file names go first.
 */
import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { LRUCache } from 'lru-cache';
import PQueue from 'p-queue';
import * as v from 'valibot';
import { KIB, MINUTE, SECOND, type Clock } from '../util/clock.ts';
import { errorMessage } from '../util/errors.ts';
import { DOCKER_HUB, tryParseRegistryHost, type RegistryHost, type Repository } from '../oci/repository.ts';
import { parseBasic, type StoredCredential } from './credential.ts';

/** The name under which docker keeps Docker Hub's credentials. */
const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';
/** Milliseconds; helpers of clouds issue passwords that live for hours. */
const CACHE_TIME = 5 * MINUTE;
/** Callers name the registries, so the number is bounded. */
const MAX_CACHED = 256;
/** Milliseconds that a helper may take. */
const HELPER_TIMEOUT = 10 * SECOND;
/** Each is a program of some 10 MiB that may call a cloud. The mirror's limit on requests bounds those that wait. */
const MAX_HELPERS = 4;
/** Bytes that a helper may print. */
const MAX_HELPER_OUTPUT = 64 * KIB;
const HELPER_NAME = /^[a-z0-9._-]+$/i;
/** A path of a key that names the registry's API, and no repositories. */
const API_VERSION = /^v[12]$/;
/** The user name that a helper prints if the secret is a refresh token. */
const IDENTITY_USER = '<token>';

const configSchema = v.object({
  auths: v.optional(
    v.record(
      v.string(),
      v.object({
        auth: v.optional(v.string()),
        username: v.optional(v.string()),
        password: v.optional(v.string()),
        identitytoken: v.optional(v.string()),
        registrytoken: v.optional(v.string()),
      }),
    ),
  ),
  credHelpers: v.optional(v.record(v.string(), v.string())),
  credsStore: v.optional(v.string()),
});
const helperSchema = v.object({ Username: v.string(), Secret: v.string() });

type Config = v.InferOutput<typeof configSchema>;
type AuthEntry = NonNullable<Config['auths']>[string];

/** An entry of `auths`. */
interface Entry {
  /** Repositories at this path and below it; empty: all of the registry. */
  readonly path: string;
  readonly auth: AuthEntry;
}

interface Cached {
  readonly until: number;
  readonly credential: Promise<StoredCredential | undefined>;
}

export class DockerConfig {
  readonly #path: string;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #warn: (message: string) => void;
  readonly #cache = new LRUCache<string, Cached>({ max: MAX_CACHED });
  /** Those for which the last look-up found no credential. */
  readonly #without = new LRUCache<string, true>({ max: MAX_CACHED });
  readonly #helpers = new PQueue({ concurrency: MAX_HELPERS });
  #config: Config = {};
  /** Of each registry, the most specific first. */
  #entries: ReadonlyMap<RegistryHost, readonly Entry[]> = new Map();
  #version = '';
  /** Shared by concurrent callers: a second one must not use the config before the first has read it. */
  #refreshing: Promise<void> | undefined;

  constructor(path: string, clock: Pick<Clock, 'monotonic'>, warn: (message: string) => void) {
    this.#path = path;
    this.#clock = clock;
    this.#warn = warn;
  }

  /** The credential for `repository`. Concurrent callers share one look-up. */
  async credential(repository: Repository): Promise<StoredCredential | undefined> {
    this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined));
    await this.#refreshing;
    const { registry } = repository;
    const entry = this.#entryOf(repository);
    const key = keyOf(registry, entry);
    const known = this.#cache.get(key);
    if (known !== undefined && known.until > this.#clock.monotonic()) return known.credential;
    const credential = this.#find(registry, entry);
    this.#cache.set(key, { until: this.#clock.monotonic() + CACHE_TIME, credential });
    return credential;
  }

  /** Whether the last look-up found no credential for `repository`. */
  isWithout(repository: Repository): boolean {
    return this.#without.has(keyOf(repository.registry, this.#entryOf(repository)));
  }

  #entryOf({ registry, name }: Repository): Entry | undefined {
    const isFor = ({ path }: Entry): boolean => path === '' || `${name}/`.startsWith(`${path}/`);
    return this.#entries.get(registry)?.find(isFor);
  }

  async #find(registry: RegistryHost, entry: Entry | undefined): Promise<StoredCredential | undefined> {
    const found = await this.#lookUp(this.#config, registry, entry);
    const key = keyOf(registry, entry);
    if (found === undefined) this.#without.set(key, true);
    else this.#without.delete(key);
    return found;
  }

  async #refresh(): Promise<void> {
    try {
      const { mtimeMs, size, ino } = await stat(this.#path);
      const version = `${mtimeMs} ${size} ${ino}`;
      if (version === this.#version) return;
      this.#version = version;
      this.#cache.clear();
      this.#use(v.parse(configSchema, JSON.parse(await readFile(this.#path, 'utf8'))));
    } catch (error) {
      if (this.#version !== 'unusable') {
        // The text of a JSON error quotes the file, which contains passwords.
        const reason = error instanceof SyntaxError ? 'it is not JSON' : errorMessage(error);
        this.#warn(`cannot use the docker config ${this.#path}: ${reason}`);
      }
      if (isBroken(error)) return;
      this.#version = 'unusable';
      this.#use({}); // its credentials are withdrawn
      this.#cache.clear();
    }
  }

  #use(config: Config): void {
    this.#config = config;
    this.#entries = entriesOf(config.auths);
  }

  async #lookUp(
    config: Config,
    registry: RegistryHost,
    entry: Entry | undefined,
  ): Promise<StoredCredential | undefined> {
    const own = helperOf(config.credHelpers, registry);
    const helper = own ?? config.credsStore;
    const listed = entry && fromEntry(entry.auth);
    // A store knows registries alone.
    const isCloser = listed !== undefined && entry?.path !== '' && own === undefined;
    if (helper !== undefined && !isCloser) {
      const priority = own === undefined && entry === undefined ? 0 : 1;
      const found = await this.#helpers.add(() => this.#askHelper(helper, registry), { priority });
      if (found !== undefined) return found;
    }
    return listed;
  }

  async #askHelper(name: string, registry: RegistryHost): Promise<StoredCredential | undefined> {
    if (!HELPER_NAME.test(name)) {
      this.#warn(`the docker config names a credential helper with characters that no helper has`);
      return undefined;
    }
    const program = `docker-credential-${name}`;
    const server = registry === DOCKER_HUB ? DOCKER_HUB_KEY : registry;
    try {
      const answer = v.parse(helperSchema, JSON.parse(await runHelper(program, server)));
      if (answer.Username === IDENTITY_USER) return { kind: 'identity', token: answer.Secret };
      return { kind: 'basic', username: answer.Username, password: answer.Secret };
    } catch (error) {
      if (!isNotFound(error)) this.#warn(`${program} gave no credential for ${registry}: ${describe(error)}`);
      return undefined;
    }
  }
}

/** Whether the file is there, and is no docker config. */
function isBroken(error: unknown): boolean {
  return error instanceof SyntaxError || v.isValiError(error);
}

function helperOf(helpers: Config['credHelpers'], registry: RegistryHost): string | undefined {
  for (const [key, helper] of Object.entries(helpers ?? {})) {
    const place = placeOf(key);
    if (place.registry === registry && place.path === '') return helper;
  }
  return undefined;
}

function entriesOf(auths: Config['auths']): ReadonlyMap<RegistryHost, readonly Entry[]> {
  const entries = new Map<RegistryHost, Entry[]>();
  for (const [key, auth] of Object.entries(auths ?? {})) {
    const { registry, path } = placeOf(key);
    if (registry === undefined) continue;
    const those = entries.get(registry) ?? [];
    those.push({ path, auth });
    entries.set(registry, those);
  }
  for (const those of entries.values()) those.sort((a, b) => b.path.length - a.path.length);
  return entries;
}

/** The place that a key names: a host with or without a path, or a URL as docker once wrote it. */
function placeOf(key: string): { readonly registry: RegistryHost | undefined; readonly path: string } {
  const [host = '', ...rest] = key.replace(/^https?:\/\//i, '').split('/');
  const path = rest.filter((element) => element !== '').join('/');
  return { registry: tryParseRegistryHost(host), path: API_VERSION.test(path) ? '' : path };
}

function keyOf(registry: RegistryHost, entry: Entry | undefined): string {
  return `${registry}/${entry?.path ?? ''}`;
}

function fromEntry(entry: AuthEntry): StoredCredential | undefined {
  if (entry.identitytoken) return { kind: 'identity', token: entry.identitytoken };
  if (entry.registrytoken) return { kind: 'bearer', token: entry.registrytoken };
  if (entry.auth) return parseBasic(entry.auth.trim());
  if (!entry.username) return undefined;
  return { kind: 'basic', username: entry.username, password: entry.password ?? '' };
}

/** The helper's output. docker's protocol: the argument `get`, and the server's name on stdin. */
function runHelper(program: string, server: string): Promise<string> {
  const limits = { timeout: HELPER_TIMEOUT, maxBuffer: MAX_HELPER_OUTPUT, killSignal: 'SIGKILL' } as const;
  return new Promise((resolve, reject) => {
    const child = execFile(program, ['get'], limits, (error, stdout) => {
      if (error === null) resolve(stdout);
      else reject(Object.assign(error, { stdout }));
    });
    child.stdin?.on('error', () => {
      // A helper may end without reading: its output and its exit code decide.
    });
    child.stdin?.end(server);
  });
}

/** Helpers print this on stdout, and exit with 1. */
function isNotFound(error: unknown): boolean {
  return (
    error instanceof Error &&
    'stdout' in error &&
    typeof error.stdout === 'string' &&
    error.stdout.includes('credentials not found')
  );
}

/** Describes the error without the output of the helper, which may be the secret. */
function describe(error: unknown): string {
  if (error instanceof SyntaxError || v.isValiError(error)) return 'it printed something else';
  if (!(error instanceof Error)) return 'it failed';
  if ('killed' in error && error.killed === true) return 'it took too long, or printed too much';
  if ('code' in error && typeof error.code === 'number') return `it ended with code ${error.code}`;
  return 'code' in error ? `it could not be run (${String(error.code)})` : 'it failed';
}
