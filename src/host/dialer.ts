/** Connections to members: the one that is there, else a new one to the addresses that the member's record names. */
import type { Connection } from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import { multiaddr } from '@multiformats/multiaddr';
import { WeirError } from '../errors.ts';
import type { MembershipTable } from '../membership/table.ts';
import type { PeerName } from '../peer/peer-name.ts';
import { DIAL_TIMEOUT } from './limits.ts';
import type { Node } from './node.ts';
import { peerError } from './peer-errors.ts';

export class Dialer {
  readonly #node: Node;
  readonly #table: MembershipTable;

  constructor(node: Node, table: MembershipTable) {
    this.#node = node;
    this.#table = table;
  }

  isConnected(peer: PeerName): boolean {
    return this.connections(peer).length > 0;
  }

  connections(peer: PeerName): readonly Connection[] {
    return this.#node.getConnections(peerIdFromString(peer)).filter(({ status }) => status === 'open');
  }

  /** @throws WeirError `peer_unreachable`, `peer_refused` where it is banned or refuses this node; the signal's reason */
  async connect(peer: PeerName, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Connection> {
    signal?.throwIfAborted();
    if (this.#table.isBanned(peer)) throw new WeirError('peer_refused', `${peer} is banned`);
    const open = this.connections(peer)[0];
    if (open !== undefined) return open;
    const addresses = this.#table.get(peer)?.controlAddresses ?? [];
    if (addresses.length === 0) throw new WeirError('peer_unreachable', `no address of ${peer} is known`);
    return this.dial(
      addresses.map((address) => `${address}/p2p/${peer}`),
      signal === undefined ? {} : { signal },
    );
  }

  /** Dials the addresses of one peer, one after the other. @throws as {@link connect} */
  async dial(
    addresses: readonly string[],
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<Connection> {
    const limit = AbortSignal.timeout(DIAL_TIMEOUT);
    try {
      return await this.#node.dial(
        addresses.map((address) => multiaddr(address)),
        { signal: signal === undefined ? limit : AbortSignal.any([signal, limit]) },
      );
    } catch (error) {
      throw peerError(error, `cannot connect to ${addresses[0]}`, 'peer_unreachable', signal);
    }
  }
}
