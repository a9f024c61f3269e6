/**
 * Connection pools, bounded: one per origin, TLS profile, lane and reach. A connection to a target that a caller may
 * name must not serve a registry that may not.
 *
 * Callers (`?ns=`) and redirects name registries, so their number is not ours to trust. The least recently used pools
 * are closed, which lets their running requests finish.
 *
 * An origin whose answer undici's parser refuses is asked again over connections that read it as Go does
 * (lenient-head.ts), and from then on at once.
 *
 * HTTP/1.1 only: with HTTP/2 all blobs of a registry would share one connection and its congestion window, and a
 * bound on connections would mean nothing.
 */
import { lookup } from 'node:dns';
import { LRUCache } from 'lru-cache';
import type { Dispatcher } from 'undici';
import { HOUR, KIB, SECOND } from '../util/clock.ts';
import { checkHost, type Reach } from './address-guard.ts';
import { AnsweringFamily } from './answering-family.ts';
import type { TlsProfile } from './endpoint.ts';
import { guardedLookup, type Lookup } from './guarded-lookup.ts';
import { LenientConnection } from './lenient-head.ts';
import { proxyFor, type Environment } from './proxy.ts';
import { READ_AHEAD, reusedMemory } from './reused-memory.ts';
import { profileKey, type TrustStore } from './trust.ts';
import { buildConnector, EnvHttpProxyAgent, Pool } from './undici.ts';

/** Bodies of blobs have their own connections, so that a manifest never waits behind a layer. */
export type Lane = 'control' | 'blob';

/** Origins that one node uses at a time: a few registries, each with its storage and its token server. */
const MAX_POOLS = 128;
/** Bytes; signed URLs in `location` are some KiB long. */
const MAX_HEADER_SIZE = 256 * KIB;
/** Milliseconds for each address of a name but the last. Node.js gives 500, less than the answer of a satellite takes. */
const ATTEMPT_TIMEOUT = 1 * SECOND;
/** Milliseconds until an origin that needed lenience is read strictly again. */
const LENIENT_FOR = 1 * HOUR;
/** Milliseconds that an idle connection is kept: requests of one pull come closer together. */
const IDLE_TIMEOUT = 15 * SECOND;

export interface PoolOptions {
  /** Milliseconds for DNS, TCP and TLS. */
  readonly connectTimeout: number;
  /** Milliseconds until the response's header. */
  readonly headerTimeout: number;
  /** Milliseconds without a byte of a body while it is wanted. */
  readonly stallTimeout: number;
  /** Per origin and lane. */
  readonly connections: Readonly<Record<Lane, number>>;
  readonly environment: Environment;
  readonly trust: TrustStore;
  /** Resolves names; default: as all programs of the machine do. */
  readonly lookup?: Lookup | undefined;
}

/** Shares a bound on connections to one origin between the lanes; each gets at least one. */
export function shareConnections(maxConnections: number): Readonly<Record<Lane, number>> {
  const control = Math.max(1, maxConnections >> 3);
  return { control, blob: Math.max(1, maxConnections - control) };
}

export class Pools {
  readonly #options: PoolOptions;
  readonly #pools: LRUCache<string, Dispatcher>;
  /** Origins that need lenience. */
  readonly #lenient = new LRUCache<string, true>({ max: MAX_POOLS, ttl: LENIENT_FOR });
  readonly #families = new AnsweringFamily();
  /** Closed pools whose requests still run. */
  readonly #closing = new Set<Dispatcher>();

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#pools = new LRUCache({ max: MAX_POOLS, dispose: (pool) => this.#close(pool) });
  }

  isLenient(origin: string): boolean {
    return this.#lenient.has(origin);
  }

  /** The origin's answers are read leniently from now on, except behind a proxy. */
  makeLenient(origin: string): void {
    if (proxyFor(new URL(origin), this.#options.environment) === undefined) this.#lenient.set(origin, true);
  }

  /**
   * The pool of `origin`; valid until the next call, which may close it.
   * @throws WeirError `address_refused` if the origin's host is an address beyond `reach`; if it is a name that
   *   resolves to one, requests fail with it
   */
  get(origin: string, tls: TlsProfile, lane: Lane, reach: Reach): Dispatcher {
    const isLenient = this.isLenient(origin);
    const key = `${lane} ${origin} ${isLenient ? 'lenient' : 'strict'} ${tls.skipVerify ? 'insecure' : 'verify'} ${reach} ${profileKey(tls)}`;
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    // Literal addresses are never resolved, nor are names behind a proxy: guardedLookup would not see them.
    checkHost(origin, reach);
    const pool = this.#create(origin, tls, lane, reach, isLenient);
    this.#pools.set(key, pool);
    return pool;
  }

  /** No more requests are expected: connections end when their requests do. */
  retire(): void {
    this.#pools.clear();
  }

  /** Ends all connections at once. */
  async close(): Promise<void> {
    const pools = [...this.#pools.values(), ...this.#closing];
    this.#pools.clear();
    await Promise.all(pools.map((pool) => pool.destroy()));
  }

  #create(origin: string, tls: TlsProfile, lane: Lane, reach: Reach, isLenient: boolean): Dispatcher {
    const { connectTimeout, headerTimeout, stallTimeout, environment, trust } = this.#options;
    const url = new URL(origin);
    const secure = url.protocol === 'https:' && { secureContext: trust.context(tls) };
    const connect = {
      timeout: connectTimeout,
      autoSelectFamilyAttemptTimeout: ATTEMPT_TIMEOUT,
      rejectUnauthorized: !tls.skipVerify,
      lookup: guardedLookup(this.#families.preferring(this.#options.lookup ?? lookup), origin, reach),
      ...(!isLenient && { highWaterMark: READ_AHEAD, onread: reusedMemory() }),
      ...secure,
    };
    const limits = {
      connections: this.#options.connections[lane],
      connectTimeout,
      headersTimeout: headerTimeout,
      bodyTimeout: stallTimeout,
      maxHeaderSize: MAX_HEADER_SIZE,
      keepAliveTimeout: IDLE_TIMEOUT,
      allowH2: false,
    };
    const proxy = proxyFor(url, environment);
    if (proxy === undefined) {
      const connector = this.#families.remembering(endingAtErrors(connect));
      return new Pool(origin, { ...limits, connect: isLenient ? lenient(connector) : connector });
    }
    // The factories repeat the limits, because ProxyAgent does not apply them to its connections to the proxy. A
    // proxy that never answers CONNECT would hold a request for undici's default of 5 minutes.
    const factory = (to: string | URL, options: object): Pool => new Pool(to, { ...limits, ...options });
    const proxyTls = { secureContext: trust.context({ caFiles: [], client: undefined, skipVerify: false }) };
    return new EnvHttpProxyAgent({
      ...limits,
      ...proxy,
      connect,
      requestTls: connect,
      proxyTls,
      factory,
      clientFactory: factory,
    });
  }

  #close(pool: Dispatcher): void {
    this.#closing.add(pool);
    pool.close(() => this.#closing.delete(pool));
  }
}

/**
 * Connections that end with their first error. A server that refuses the client's certificate sends an alert and closes:
 * undici would report that the other side closed, which may be tried again, in place of the alert.
 */
function endingAtErrors(options: buildConnector.BuildOptions): buildConnector.connector {
  const connect = buildConnector({ ...options, allowH2: false });
  return (target, callback) => {
    connect(target, (error, socket) => {
      if (error !== null) {
        callback(error, null);
        return;
      }
      socket.prependOnceListener('error', () => void socket.destroy());
      callback(null, socket);
    });
  };
}

function lenient(connect: buildConnector.connector): buildConnector.connector {
  return (target, callback) => {
    connect(target, (error, socket) => {
      if (error !== null) callback(error, null);
      // undici asks no more of a connection than a Duplex has; its types say Socket.
      else callback(null, new LenientConnection(socket) as unknown as typeof socket);
    });
  };
}
