/** What a host is made from, and what it tells. */
import type { Clock } from '../util/clock.ts';
import type { MembershipTable } from '../cluster/member-table.ts';
import type { Identity } from '../protocol/identity.ts';
import type { PeerName } from '../protocol/peer-id.ts';
import type { SwarmMessage } from '../protocol/messages.ts';
import type { SwarmVersion } from '../protocol/codec.ts';
import type { ListenAddress, Lookup } from './addresses.ts';
import type { SelfInfo } from './self-record.ts';

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
