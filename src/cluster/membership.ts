/** The members of the cluster, as the rest of the node sees them. */
import type { Member } from '../protocol/member.ts';
import type { PeerId } from '../protocol/peer-id.ts';

export type SuspicionReason =
  | 'unreachable'
  | 'stalled'
  | 'wrong-bytes'
  | 'wrong-hash'
  | 'broken-promise'
  | 'protocol';

export interface Suspect {
  readonly peer: PeerId;
  readonly reason: SuspicionReason;
  /** Milliseconds since the epoch; until then nothing is asked of it. */
  readonly until: number;
  /** Nothing is given to it either, and its connections are refused. */
  readonly banned: boolean;
}

/** The live members, and what is held against some of them; listeners are told of changes at once. */
export interface Membership {
  readonly self: Member;
  /** Counts up whenever {@link live} changes. */
  readonly version: number;
  /** Members that are neither leaving nor suspect, this node among them; the same array until the version changes. */
  live(): readonly Member[];
  /** Whether the peer is among {@link live}. */
  isLive(peer: PeerId): boolean;
  /** Any member that is known, suspect or not. */
  get(peer: PeerId): Member | undefined;
  /** Whether a member's record names this address. */
  names(host: string): boolean;
  /** The peer failed: nothing is asked of it for a while, longer each time. */
  suspect(peer: PeerId, reason: SuspicionReason): void;
  /** The peer answered well: its suspicions are forgotten, but not a ban. */
  clear(peer: PeerId): void;
  /** The peer lied: no connection, no byte, until the ban ends. */
  ban(peer: PeerId, reason: SuspicionReason): void;
  isBanned(peer: PeerId): boolean;
  suspects(): readonly Suspect[];
  /** Calls back after each change of version; returns a function that stops that. */
  onChange(listener: () => void): () => void;
}
