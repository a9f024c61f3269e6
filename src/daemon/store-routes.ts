/**
 * The paths below /v1/store of the admin address (docs/admin-api.md). Reading is for this machine, as the other reports.
 * A change needs the token of admin.token-file besides: every user and pod on the host network of this machine reaches
 * loopback, and whoever may remove blobs can make all pulls slow.
 */
import { errorMessage, isWeirError, WeirError, type ErrorCode } from '../util/errors.ts';
import type { Config } from '../config/settings.ts';
import { tryParseDigest, type Digest } from '../oci/digest.ts';
import { parseImageReference, type ImageReference } from '../oci/reference.ts';
import type { RegistryHost } from '../oci/repository.ts';
import { MAX_LISTED, STORE_ORDERS, type StoreOrder } from '../status/store-report.ts';
import { bearsToken, readAdminToken } from './configured-token.ts';
import { StoreAdmin, type StoreAdminOptions } from './store-admin.ts';

const PREFIX = '/v1/store';
const LONGEST_UNUSED = 1e9; // seconds: some thirty years

export interface StoreRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly authorization: string | undefined;
}

export interface StoreAnswer {
  readonly status: number;
  /** A report, or the sentence of a refusal. */
  readonly body: object | string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Status of each failure that the caller can do something about. */
const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  bad_request: 409,
  store_full: 409,
  blob_unknown: 404,
  manifest_unknown: 404,
  upstream_too_large: 409,
  reference_invalid: 400,
  name_invalid: 400,
  config_invalid: 503,
  store_unusable: 503,
  store_corrupt: 503,
};

export interface StoreRoutesOptions {
  readonly admin: StoreAdmin;
  /** Path of the token; empty: none. */
  readonly tokenFile: string;
  readonly defaultRegistry: RegistryHost;
}

export function isStorePath(path: string): boolean {
  return path === PREFIX || path.startsWith(`${PREFIX}/`);
}

/** @throws WeirError `config_invalid` if there is a token file without a usable token */
export async function openStoreRoutes(config: Config, store: StoreAdminOptions): Promise<StoreRoutes> {
  const tokenFile = config['admin.token-file'];
  await readAdminToken(tokenFile);
  const defaultRegistry = config['mirror.default-registry'];
  return new StoreRoutes({ admin: new StoreAdmin(store), tokenFile, defaultRegistry });
}

export class StoreRoutes {
  readonly #options: StoreRoutesOptions;

  constructor(options: StoreRoutesOptions) {
    this.#options = options;
  }

  async answer(request: StoreRequest): Promise<StoreAnswer> {
    try {
      return await this.#answer(request);
    } catch (error) {
      const status = isWeirError(error) ? STATUS[error.code] : undefined;
      if (status === undefined) throw error;
      return { status, body: errorMessage(error) };
    }
  }

  async #answer({ method, target, authorization }: StoreRequest): Promise<StoreAnswer> {
    const url = URL.parse(target, 'http://localhost');
    const route = url === null ? undefined : routeOf(url);
    if (url === null || route === undefined)
      return { status: 404, body: `there is nothing at this path below ${PREFIX}` };
    const work = route.methods[method];
    if (work === undefined) {
      const allowed = Object.keys(route.methods).join(', ');
      return { status: 405, body: `${allowed} only`, headers: { Allow: allowed } };
    }
    const refusal = method === 'GET' || method === 'HEAD' ? undefined : await this.#refusal(authorization);
    return refusal ?? (await this.#done(work, url.searchParams));
  }

  async #done(work: Work, query: URLSearchParams): Promise<StoreAnswer> {
    const { admin, defaultRegistry } = this.#options;
    const read = new Query(query, defaultRegistry);
    const begin = work(admin, read);
    const problem = read.problem;
    return problem === undefined ? { status: 200, body: await begin() } : { status: 400, body: problem };
  }

  async #refusal(authorization: string | undefined): Promise<StoreAnswer | undefined> {
    const token = await readAdminToken(this.#options.tokenFile);
    if (token === undefined) {
      return {
        status: 403,
        body: 'changes of the store need a token: set admin.token-file to a file that holds one',
      };
    }
    if (bearsToken(authorization, token)) return undefined;
    const body =
      authorization === undefined
        ? 'changes of the store need the token of admin.token-file: send Authorization: Bearer TOKEN'
        : 'the token is not that of admin.token-file';
    return { status: 401, body, headers: { 'WWW-Authenticate': 'Bearer' } };
  }
}

/** Reads the query, and tells what to do if nothing is wrong with it. */
type Work = (admin: StoreAdmin, query: Query) => () => Promise<object>;

interface Route {
  readonly methods: Readonly<Record<string, Work>>;
}

function routeOf({ pathname }: URL): Route | undefined {
  if (pathname === PREFIX) return { methods: { GET: list, HEAD: list } };
  const [first, second, ...rest] = pathname.slice(PREFIX.length + 1).split('/');
  if (rest.length > 0) return undefined;
  if (first === 'gc' && second === undefined) return { methods: { POST: collect } };
  if (first === 'pin' && second === undefined) return { methods: { PUT: pinImage, DELETE: unpinImage } };
  const digest = digestIn(first ?? '');
  if (digest === undefined) return undefined;
  if (second === undefined) return { methods: { DELETE: remove(digest) } };
  if (second !== 'pin') return undefined;
  return {
    methods: { PUT: (admin) => () => admin.pin(digest), DELETE: (admin) => () => admin.unpin(digest) },
  };
}

function digestIn(text: string): Digest | undefined {
  return tryParseDigest(text.replace(/%3a/i, ':'));
}

const list: Work = (admin, query) => {
  const order = query.word('sort', STORE_ORDERS) ?? 'last-use';
  const limit = query.number('limit', MAX_LISTED) ?? MAX_LISTED;
  return () => admin.list(order satisfies StoreOrder, limit);
};

const collect: Work = (admin, query) => {
  const to = query.number('to_bytes', Number.MAX_SAFE_INTEGER);
  const unused = query.number('unused_seconds', LONGEST_UNUSED);
  query.require((to === undefined) !== (unused === undefined), 'give one of to_bytes and unused_seconds');
  return () => (to === undefined ? admin.evictUnused((unused ?? 0) * 1000) : admin.shrinkTo(to));
};

const remove =
  (digest: Digest): Work =>
  (admin, query) => {
    const force = query.word('force', ['true', 'false']) === 'true';
    return () => admin.remove(digest, force);
  };

const pinImage: Work = (admin, query) => {
  const image = query.image();
  return async () => admin.pinImage(given(image));
};

const unpinImage: Work = (admin, query) => {
  const image = query.image();
  return async () => admin.unpinImage(given(image));
};

function given<T>(value: T | undefined): T {
  if (value === undefined) throw new WeirError('internal', 'a problem of the query was passed over');
  return value;
}

/** Reads the parameters of a query; unknown, repeated or malformed ones are a problem. */
class Query {
  readonly #query: URLSearchParams;
  readonly #registry: RegistryHost;
  readonly #known = new Set<string>();
  #problem: string | undefined;

  constructor(query: URLSearchParams, registry: RegistryHost) {
    this.#query = query;
    this.#registry = registry;
  }

  /** To be read after all parameters. */
  get problem(): string | undefined {
    for (const name of this.#query.keys())
      if (!this.#known.has(name)) return `there is no parameter ${JSON.stringify(name.slice(0, 40))}`;
    return this.#problem;
  }

  require(condition: boolean, problem: string): void {
    if (!condition) this.#problem ??= problem;
  }

  word<const T extends string>(name: string, words: readonly T[]): T | undefined {
    const text = this.#text(name);
    const word = words.find((each) => each === text);
    this.require(text === undefined || word !== undefined, `${name} is none of ${words.join(', ')}`);
    return word;
  }

  number(name: string, max: number): number | undefined {
    const text = this.#text(name);
    const value =
      text !== undefined && /^\d{1,16}$/.test(text) && Number(text) <= max ? Number(text) : undefined;
    this.require(text === undefined || value !== undefined, `${name} is no whole number from 0 to ${max}`);
    return value;
  }

  image(): ImageReference | undefined {
    const text = this.#text('image');
    this.require(text !== undefined, 'give the image: image=REFERENCE');
    return text === undefined ? undefined : parseImageReference(text, this.#registry);
  }

  #text(name: string): string | undefined {
    this.#known.add(name);
    const [text, ...more] = this.#query.getAll(name);
    this.require(more.length === 0, `${name} is given twice`);
    return text;
  }
}
