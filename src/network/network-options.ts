/** What a network is made from, and the events that it reports. */
import type { Clock } from '../util/clock.ts';
import type { WeirError } from '../util/errors.ts';
import type { MemberTable } from '../cluster/member-table.ts';
import type { Identity } from '../protocol/identity.ts';
import type { Address } from '../protocol/member.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ClusterKeys } from './cluster-keys.ts';
import type { ListenAddress, Lookup } from './addresses.ts';
import type { SelfInfo } from './self-record.ts';
import type { Connection } from '@libp2p/interface';
import { weirPeerIdOf } from './connection-gater.ts';

export interface NetworkLogger {
  debug(detail: object, message: string): void;
  warn(detail: object, message: string): void;
}

export interface NetworkOptions {
  readonly identity: Identity;
  /** Of this network alone. */
  readonly clusterKeys: ClusterKeys;
  readonly listen: readonly ListenAddress[];
  /** IP, IP:port, [IPv6]:port or multiaddr; empty for the addresses listened on. */
  readonly announce: readonly string[];
  /** Multiaddrs, or host:port; the host may be a DNS name with many addresses. */
  readonly bootstrap: readonly string[];
  /** Whether to look for neighbours on the LAN by multicast DNS. */
  readonly mdns: boolean;
  readonly table: MemberTable;
  readonly selfInfo: SelfInfo;
  /** Where the peer wire listens, given the addresses of this node (multiaddrs); default: as in `selfInfo`. */
  readonly dataAddresses?: (addresses: readonly string[]) => readonly Address[];
  readonly clock: Clock;
  readonly logger: NetworkLogger;
  /** The peer cannot be reached. The table suspects it already. */
  readonly onUnreachable: (peer: PeerId) => void;
  /** Nothing more is to be said to the peer: it is banned, or has broken the protocol. */
  readonly onHangUp: (peer: PeerId, reason: WeirError) => void;
  readonly lookup?: Lookup;
}

export interface ConnectedPeer {
  readonly peer: PeerId;
  /** Multiaddr. */
  readonly address: string;
  readonly direction: 'inbound' | 'outbound';
  /** Milliseconds; undefined until it is measured. */
  readonly rtt: number | undefined;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

export function describe(connection: Connection): ConnectedPeer | undefined {
  const peer = weirPeerIdOf(connection.remotePeer);
  if (peer === undefined || connection.status !== 'open') return undefined;
  const { remoteAddr, direction, rtt, timeline } = connection;
  return { peer, address: String(remoteAddr), direction, rtt, since: timeline.open };
}
