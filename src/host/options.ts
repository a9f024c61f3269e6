/** What a host is made from, and what it tells. */
import type { Clock } from '../clock.ts';
import type { MembershipTable } from '../membership/table.ts';
import type { Identity } from '../peer/identity.ts';
import type { PeerName } from '../peer/peer-name.ts';
import type { SwarmMessage } from '../protocol/messages.ts';
import type { SwarmVersion } from '../wire/codec.ts';
import type { ListenAddress, Lookup } from './addresses.ts';
import type { SelfInfo } from './self-record.ts';

/** A connected peer, for people. */
export interface ConnectedPeer {
  readonly peer: PeerName;
  /** Multiaddr. */
  readonly address: string;
  readonly direction: 'inbound' | 'outbound';
  /** Milliseconds; undefined until it has been measured. */
  readonly rtt: number | undefined;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

export interface HostLogger {
  debug(detail: object, message: string): void;
  warn(detail: object, message: string): void;
}

export interface HostOptions {
  readonly identity: Identity;
  /** Undefined: an open cluster. */
  readonly clusterKey: Uint8Array | undefined;
  readonly listen: readonly ListenAddress[];
  /** IP, IP:port, [IPv6]:port or multiaddr; empty: what is listened on. */
  readonly announce: readonly string[];
  /** Multiaddrs, or host:port where the host may be a DNS name with many addresses. */
  readonly bootstrap: readonly string[];
  /** Look for neighbours on the LAN by multicast DNS. */
  readonly mdns: boolean;
  readonly table: MembershipTable;
  readonly selfInfo: SelfInfo;
  readonly clock: Clock;
  readonly logger: HostLogger;
  readonly onMessage: (peer: PeerName, message: SwarmMessage) => void;
  /** What was sent to this peer is lost, and it cannot be reached; the table suspects it already. */
  readonly onUnreachable: (peer: PeerName) => void;
  /** Versions of the swarm protocol, newest first. */
  readonly protocolVersions?: readonly SwarmVersion[];
  readonly lookup?: Lookup;
}
