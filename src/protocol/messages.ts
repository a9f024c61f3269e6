/**
 * The messages of a swarm. The policy works with these objects, codec.ts turns them into bytes, and docs/protocol.md
 * specifies their meaning. No message needs a reply that somebody waits for: each may be lost, arrive twice, or
 * arrive late.
 */
import type { RegistryBlob } from '../oci/registry-blob.ts';
import type { PeerId } from './peer-id.ts';
import type { Attestation } from './attestation.ts';

/**
 * One swarm: the peers that share a blob of this registry. The registry belongs to the key. A node may serve bytes in
 * the name of a registry only if that registry was seen to have them (ADR 3).
 */
export type SwarmKey = RegistryBlob;

export interface TrackedPeer {
  readonly peer: PeerId;
  /** It has the whole blob. */
  readonly complete: boolean;
}

/** Bounds that the codec enforces on incoming messages, and the policy on outgoing ones. */
export const MESSAGE_LIMITS = {
  /** Peers in one `peers`. */
  peers: 32,
  /** Chunk indices in one `have`. */
  indices: 1024,
  /** Attestations in one `attested`. */
  attestations: 64,
  /** Chunks of a blob: 1 TiB in chunks of 8 MiB. */
  chunks: 131_072,
  /** Bytes of a blob. */
  size: 2 ** 40,
  /** Chunks in one request to the registry. */
  fetchGroup: 131_072,
} as const;

export type SwarmMessage = { readonly swarm: SwarmKey } & (
  | {
      /** To a tracker: add me to the peers of this swarm, and send me others. Repeated as a refresh. */
      readonly kind: 'announce';
      /** Bytes of the blob. */
      readonly size: number;
      readonly complete: boolean;
    }
  | {
      /** A tracker's answer to `announce`. */
      readonly kind: 'peers';
      readonly peers: readonly TrackedPeer[];
    }
  | {
      /** Be my peer in this swarm; these are my chunks. */
      readonly kind: 'handshake';
      readonly size: number;
      /** Bitfield, first chunk in the highest bit of the first byte. */
      readonly have: Uint8Array;
      /** Whether the other side should answer with `handshake` (or `bye`). */
      readonly asks: boolean;
    }
  | {
      /** I am not your peer in this swarm (any more). */
      readonly kind: 'bye';
      readonly reason: 'full' | 'absent' | 'done';
    }
  | {
      /** I now have these chunks. */
      readonly kind: 'have';
      readonly indices: readonly number[];
    }
  | {
      /** These chunks have entered the cluster; each comes with its hash and the member that attests it. */
      readonly kind: 'attested';
      /** Chunks per request to the registry at present; it grows when the registry throttles. */
      readonly fetchGroup: number;
      readonly attestations: readonly Attestation[];
    }
  | {
      /** To the chunk's owner: I am fetching it from the registry; if not `held`: I am not, any more. */
      readonly kind: 'claim';
      readonly index: number;
      readonly held: boolean;
    }
  | {
      /** A tracker's question to a member: announce yourself if you have the whole blob. */
      readonly kind: 'query';
      readonly size: number;
    }
);

export type SwarmMessageKind = SwarmMessage['kind'];
