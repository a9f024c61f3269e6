/** Who is in the cluster, as the rest of the node sees it. */
import type { PeerName } from '../peer/peer-name.ts';

export interface Address {
  /** IP address without brackets. */
  readonly host: string;
  readonly port: number;
}

/** What a member says about itself; signed with the key that its name holds (record.ts), so relays cannot change it. */
export interface Member {
  readonly peer: PeerName;
  /** Milliseconds since the epoch, by its own clock; a later record replaces an earlier one. */
  readonly sequence: number;
  /** For people: the host's name. At most 253 characters. */
  readonly name: string;
  /** Topology zone; empty where none is known. At most 63 characters. */
  readonly zone: string;
  /** Multiaddrs of its libp2p host, without `/p2p/…`; at most 8. */
  readonly controlAddresses: readonly string[];
  /** Where chunks are served; at most 8. */
  readonly dataAddresses: readonly Address[];
  /** sha256 of the DER of the certificate at its data port; empty where it serves without TLS. */
  readonly fingerprint: Uint8Array;
  /** Program version, for people. */
  readonly version: string;
  /** It is leaving: nothing may be asked of it any more. */
  readonly leaving: boolean;
}

export type SuspicionReason =
  | 'unreachable'
  | 'stalled'
  | 'wrong-bytes'
  | 'wrong-hash'
  | 'broken-promise'
  | 'protocol';

export interface Suspect {
  readonly peer: PeerName;
  readonly reason: SuspicionReason;
  /** Milliseconds since the epoch; until then nothing is asked of it. */
  readonly until: number;
  /** Nothing is given to it either, and its connections are refused. */
  readonly banned: boolean;
}

/** The live members and what is held against some of them; changes are told at once. */
export interface Membership {
  readonly self: Member;
  /** Counts up whenever {@link live} changes. */
  readonly version: number;
  /** Members that are neither leaving nor suspect, this node among them; the same array until the version changes. */
  live(): readonly Member[];
  /** Whether it is among {@link live}. */
  isLive(peer: PeerName): boolean;
  /** Any member that is known, suspect or not. */
  get(peer: PeerName): Member | undefined;
  /** Whether a member says that it is at this address. */
  names(host: string): boolean;
  /** Something went wrong with this peer: nothing is asked of it for a while, longer each time. */
  suspect(peer: PeerName, reason: SuspicionReason): void;
  /** It answered well: what was held against it, short of a ban, is forgotten. */
  absolve(peer: PeerName): void;
  /** It lied: no connection, no byte, until the ban ends. */
  ban(peer: PeerName, reason: SuspicionReason): void;
  isBanned(peer: PeerName): boolean;
  suspects(): readonly Suspect[];
  /** Calls back after each change of version; returns the way to stop that. */
  onChange(listener: () => void): () => void;
}
