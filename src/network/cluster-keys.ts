/**
 * The cluster's keys at the handshake. A member may have two, so that a key can be changed: each handshake is made with one
 * that both sides have.
 *
 * libp2p negotiates by name how a connection is secured (multistream-select). Each key is a way of its own: Noise with the
 * key in its prologue, named after the key's public tag. The dialling side proposes its keys in order, so the first one is used
 * if the other side has it. The name only says which key to try: without the key itself the handshake fails.
 */
import { hkdfSync } from 'node:crypto';
import type { Connection, ConnectionEncrypter, Libp2p } from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { SECOND, type Clock } from '../util/clock.ts';
import { toError } from '../util/errors.ts';
import { REKEY_SPREAD } from './limits.ts';
import type { NetworkLogger } from './network-options.ts';
import { withSingleWrites } from './libp2p-tweaks.ts';

type NoiseComponents = Parameters<ReturnType<typeof noise>>[0];

/** Milliseconds for a connection to close in order; a peer that hangs must not keep it open. */
const CLOSE_TIMEOUT = 5 * SECOND;

export type ClusterKey = Uint8Array;

export interface ReplaceOptions {
  readonly libp2p: Pick<Libp2p, 'getConnections'>;
  readonly clock: Clock;
  readonly logger: Pick<NetworkLogger, 'debug'>;
  readonly signal: AbortSignal;
}

export class ClusterKeys {
  #keys: readonly ClusterKey[];
  #components: NoiseComponents | undefined;

  /** @param keys the first one is preferred; none: an open cluster */
  constructor(keys: readonly ClusterKey[]) {
    this.#keys = keys;
  }

  /** For libp2p's `connectionEncrypters`. */
  get encrypters(): ((components: NoiseComponents) => ConnectionEncrypter)[] {
    return this.#uses.map((key) => (components) => {
      this.#components = components;
      return encrypterOf(key, components);
    });
  }

  /**
   * Takes other keys for handshakes to come, at once; then closes connections that were made with one that is gone. Not all at
   * a time: a member without any connection would be without gossip until it has others.
   */
  async replace(keys: readonly ClusterKey[], options: ReplaceOptions): Promise<void> {
    const { libp2p, clock, logger, signal } = options;
    this.#use(keys);
    const stale = libp2p.getConnections().filter((connection) => !this.#isCurrent(connection));
    for (const [index, connection] of stale.entries()) {
      if (index > 0) await clock.sleep(REKEY_SPREAD / stale.length, { signal });
      if (connection.status === 'open') {
        const limit = AbortSignal.any([signal, AbortSignal.timeout(CLOSE_TIMEOUT)]);
        await connection.close({ signal: limit }).catch((error: unknown) => connection.abort(toError(error)));
      }
    }
    logger.debug({ closed: stale.length }, 'no connection has a removed cluster key any more');
  }

  /** @throws TypeError if the library has changed */
  #use(keys: readonly ClusterKey[]): void {
    const components = this.#components;
    if (components === undefined) throw new TypeError('libp2p has made no encrypter');
    this.#keys = keys;
    const known = components.upgrader.getConnectionEncrypters();
    known.clear();
    for (const key of this.#uses) {
      const encrypter = encrypterOf(key, components);
      known.set(encrypter.protocol, encrypter);
    }
  }

  /** Whether the connection was secured with a key that is still one of these. */
  #isCurrent({ encryption }: Pick<Connection, 'encryption'>): boolean {
    return this.#uses.some((key) => protocolOf(key) === encryption);
  }

  get #uses(): readonly (ClusterKey | undefined)[] {
    return this.#keys.length === 0 ? [undefined] : this.#keys;
  }
}

function encrypterOf(key: ClusterKey | undefined, components: NoiseComponents): ConnectionEncrypter {
  const create = withSingleWrites(noise({ prologueBytes: noisePrologue(key) }));
  return Object.assign(create(components), { protocol: protocolOf(key) });
}

function protocolOf(key: ClusterKey | undefined): string {
  return `/weir/noise/${clusterTag(key)}`;
}

const SALT = 'weir/cluster-key/1';
/** Bytes of a derived key. */
const LENGTH = 32;

/**
 * The prologue of the Noise handshake. If two nodes have different prologues, the first encrypted message cannot be
 * read, and the handshake fails. A cluster without a key has a prologue, too, so that it never meets one with a key.
 */
export function noisePrologue(key: ClusterKey | undefined): Uint8Array {
  return derive(key, 'noise prologue');
}

/** Eight hex digits that tell keys apart in public: in the names of handshakes, and in the log. */
export function clusterTag(key: ClusterKey | undefined): string {
  return Buffer.from(derive(key, 'public tag')).toString('hex').slice(0, 8);
}

function derive(key: ClusterKey | undefined, use: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key ?? new Uint8Array(), SALT, use, LENGTH));
}
