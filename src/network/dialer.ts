/**
 * Connections to members: an open one, or else a new one to the addresses in the member's record. Few dials run at a
 * time. The time limit of a dial starts when it leaves the queue.
 */
import type { Connection } from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import { multiaddr } from '@multiformats/multiaddr';
import PQueue from 'p-queue';
import type { Clock } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import type { MemberTable } from '../cluster/member-table.ts';
import { ActiveTimer } from '../util/active-time.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import * as limits from './limits.ts';
import type { Libp2pNode } from './libp2p-node.ts';
import { peerError } from './peer-errors.ts';

/** The progress event of libp2p that means: the other side accepted the TCP connection. */
const TAKEN = 'upgrader:encrypt-outbound-connection';

export class Dialer {
  readonly #libp2p: Libp2pNode;
  readonly #table: MemberTable;
  readonly #clock: Clock;
  readonly #queue: PQueue = new PQueue({ concurrency: limits.DIALS_AT_ONCE });

  constructor(libp2p: Libp2pNode, table: MemberTable, clock: Clock) {
    this.#libp2p = libp2p;
    this.#table = table;
    this.#clock = clock;
  }

  isConnected(peer: PeerId): boolean {
    return this.connections(peer).length > 0;
  }

  connections(peer: PeerId): readonly Connection[] {
    return this.#libp2p.getConnections(peerIdFromString(peer)).filter(({ status }) => status === 'open');
  }

  /**
   * @throws WeirError `peer_unreachable`, `peer_refused` if it is banned or refuses this node; the signal's reason
   */
  async connect(peer: PeerId, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Connection> {
    signal?.throwIfAborted();
    if (this.#table.isBanned(peer)) throw new WeirError('peer_refused', `${peer} is banned`);
    const open = this.connections(peer)[0];
    if (open !== undefined) return open;
    const addresses = this.#table.get(peer)?.controlAddresses ?? [];
    if (addresses.length === 0) throw new WeirError('peer_unreachable', `no address of ${peer} is known`);
    return this.#inTurn(
      () => this.connections(peer)[0], // the peer may have dialled this node meanwhile
      addresses.map((address) => `${address}/p2p/${peer}`),
      signal,
    );
  }

  /** Dials the addresses of one peer, one after the other. @throws as {@link connect} */
  dial(
    addresses: readonly string[],
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<Connection> {
    return this.#inTurn(() => undefined, addresses, signal);
  }

  async #inTurn(
    isThere: () => Connection | undefined,
    addresses: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<Connection> {
    try {
      if (this.#queue.size >= limits.MAX_DIAL_QUEUE) throw new Error('too many dials are waiting');
      return await this.#queue.add(
        async () => {
          const open = isThere();
          if (open !== undefined) return open;
          return await this.#oneByOne(addresses, signal);
        },
        signal === undefined ? {} : { signal },
      );
    } catch (error) {
      throw peerError(error, `cannot connect to ${addresses[0]}`, 'peer_unreachable', signal);
    }
  }

  /**
   * A peer with one address gets all the time for it. A peer that accepted the TCP connection gets more time for the
   * handshake. If it were given up half way, nodes without time for the first handshake would begin another.
   * @throws the error of the last address; the signal's reason
   */
  async #oneByOne(addresses: readonly string[], signal: AbortSignal | undefined): Promise<Connection> {
    using whole = new ActiveTimer(this.#clock, limits.DIAL_TIMEOUT, late);
    const until = signal === undefined ? whole.signal : AbortSignal.any([signal, whole.signal]);
    let failure: unknown = new Error('it has no address');
    for (const address of addresses) {
      using part =
        addresses.length === 1 ? undefined : new ActiveTimer(this.#clock, limits.ADDRESS_DIAL_TIMEOUT);
      const onProgress = ({ type }: { readonly type: string }): void => {
        if (type !== TAKEN) return;
        part?.prolong(limits.HANDSHAKE_TIMEOUT);
        // If the handshake fails after all, the next address has its time, too.
        const others = part === undefined ? 0 : limits.DIAL_TIMEOUT;
        whole.prolong(limits.HANDSHAKE_TIMEOUT + others);
      };
      const limit = part === undefined ? until : AbortSignal.any([until, part.signal]);
      try {
        return await this.#libp2p.dial(multiaddr(address), { signal: limit, onProgress });
      } catch (error) {
        failure = error;
        until.throwIfAborted();
      }
    }
    throw failure;
  }
}

function late(limit: string): WeirError {
  return new WeirError('peer_unreachable', `no connection within ${limit}`, {
    detail: { reason: 'timeout' },
  });
}
