/** What a member says about itself to the others. */
import type { PeerId } from './peer-id.ts';

export interface Address {
  /** IP address without brackets. */
  readonly host: string;
  readonly port: number;
}

/** What a member says about itself; signed with the key that its name holds (signed-record.ts), so relays cannot change it. */
export interface Member {
  readonly peer: PeerId;
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
