/** A member, by its own record. */
import type { PeerId } from './peer-id.ts';

export interface Address {
  /** IP address without brackets. */
  readonly host: string;
  readonly port: number;
}

/**
 * A member's record of itself. It is signed with the key in its peer ID (signed-record.ts), so relays cannot change
 * it.
 */
export interface Member {
  readonly peer: PeerId;
  /** Milliseconds since the epoch, by its own clock; a record with a higher sequence replaces one with a lower. */
  readonly sequence: number;
  /** The host's name, for people. At most 253 characters. */
  readonly name: string;
  /** Topology zone; empty if unknown. At most 63 characters. */
  readonly zone: string;
  /** Multiaddrs of its libp2p node, without `/p2p/…`; at most 8. */
  readonly controlAddresses: readonly string[];
  /** Where it serves chunks; at most 8. */
  readonly dataAddresses: readonly Address[];
  /** sha256 of the DER of its certificate on the peer wire; empty if that has no TLS. */
  readonly fingerprint: Uint8Array;
  /** Program version, for people. */
  readonly version: string;
  /** It is leaving: no new request may go to it. */
  readonly leaving: boolean;
}
