/**
 * What peers say to each other about a blob. The policy speaks in these; wire/ turns them into bytes, and
 * docs/protocol.md tells what each one means. A message is never an answer that somebody must wait for: each may
 * be lost, come twice, or come late.
 */
import type { RegistryBlob } from '../oci/registry-blob.ts';
import type { PeerId } from './peer-id.ts';
import type { Attestation } from './attestation.ts';

/**
 * One swarm: those who share a blob that this registry has delivered. The registry is part of the name because a
 * node may hand out bytes in the name of a registry only when that registry was seen to have them (ADR 3).
 */
export type SwarmKey = RegistryBlob;

export interface TrackedPeer {
  readonly peer: PeerId;
  /** It has the whole blob. */
  readonly complete: boolean;
}

/** Bounds that the codec enforces on what arrives, and the policy keeps on what it sends. */
export const MESSAGE_LIMITS = {
  /** Members in one sample. */
  peers: 32,
  /** Chunk indices in one `have`. */
  indices: 1024,
  /** Statements in one `seen`. */
  attestations: 64,
  /** Chunks of a blob: 1 TiB in chunks of 8 MiB. */
  chunks: 131_072,
  /** Bytes of a blob. */
  size: 2 ** 40,
  /** Chunks that one request to the registry may bring. */
  fetchGroup: 16,
} as const;

export type SwarmMessage = { readonly swarm: SwarmKey } & (
  | {
      /** To a rendezvous: enter me among the members of this swarm, and tell me of others. Repeated as a refresh. */
      readonly kind: 'announce';
      /** Bytes of the blob. */
      readonly size: number;
      readonly complete: boolean;
    }
  | {
      /** A rendezvous' answer to `join`. */
      readonly kind: 'peers';
      readonly peers: readonly TrackedPeer[];
    }
  | {
      /** Be my neighbour: this is what I have. */
      readonly kind: 'handshake';
      readonly size: number;
      /** Bitfield, first chunk in the highest bit of the first byte. */
      readonly have: Uint8Array;
      /** Whether the other side is asked to say `link` (or `unlink`) in turn. */
      readonly asks: boolean;
    }
  | {
      /** I am no neighbour of yours (any more), in this swarm. */
      readonly kind: 'bye';
      readonly reason: 'full' | 'absent' | 'done';
    }
  | {
      /** These chunks are here now. */
      readonly kind: 'have';
      readonly indices: readonly number[];
    }
  | {
      /** These chunks have entered the cluster; each with its hash, and who states it. */
      readonly kind: 'attested';
      /** Chunks that one request to the registry brings at present; grows when the registry throttles. */
      readonly fetchGroup: number;
      readonly attestations: readonly Attestation[];
    }
  | {
      /** From one home to another: have you this chunk, or are you at the registry for it? */
      readonly kind: 'claim-query';
      readonly index: number;
    }
  | {
      readonly kind: 'claim-state';
      readonly index: number;
      readonly state: 'have' | 'fetching' | 'none';
    }
);

export type SwarmMessageKind = SwarmMessage['kind'];
