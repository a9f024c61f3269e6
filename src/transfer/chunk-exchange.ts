/**
 * The data plane as the swarm sees it: one member asks another for a piece of a blob. Carriers (today HTTPS)
 * implement both sides; nothing above knows how bytes travel.
 */
import type { WeirError } from '../util/errors.ts';
import type { RepositoryName } from '../oci/repository.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { Member } from '../protocol/member.ts';
import type { SwarmKey } from '../protocol/messages.ts';
import type { Attestation } from '../protocol/attestation.ts';

/** What makes the asked one fetch from the registry where it has not got the piece yet. */
export interface OwnerDuty {
  readonly repository: RepositoryName;
  /** A Bearer token that the asker's runtime presented; for this request alone: never stored, never logged. */
  readonly token: string | undefined;
  /** Bytes of the blob, which tell the asked one how it is cut; undefined for a manifest. */
  readonly size?: number | undefined;
}

export interface ChunkFetch {
  readonly swarm: SwarmKey;
  /** Undefined: the whole blob, which is a manifest then. */
  readonly range: { readonly start: number; readonly end: number } | undefined;
  /** Set where the asked one is asked as the chunk's home. */
  readonly owner: OwnerDuty | undefined;
}

export type ChunkAnswer =
  | {
      readonly kind: 'chunk';
      readonly bytes: Uint8Array;
      /** Bytes of the whole blob. */
      readonly size: number;
      /** Undefined for a whole blob: its digest says all. */
      readonly attestation: Attestation | undefined;
      /**
       * Gives the memory of `bytes` back for the next piece; nobody may hold them then. Whoever does not call it
       * leaves them to the garbage collector, and receiving costs twice as much CPU.
       */
      readonly release?: () => void;
    }
  /** Not here. */
  | { readonly kind: 'absent' }
  /** All slots are taken; `load` is how many are being served or wait. */
  | { readonly kind: 'busy'; readonly load: number }
  /** As home: it is on its way, ask again after so many milliseconds. */
  | { readonly kind: 'retry'; readonly after: number }
  /** As home: these have it. At most 3. */
  | { readonly kind: 'redirect'; readonly holders: readonly PeerId[] }
  /** As home: it cannot fetch this (upstream refuses it, or it has no credential). */
  | { readonly kind: 'unable' };

/** One request that is under way. */
export interface ChunkFetchEvents {
  /** A connection is being made for it: before that it waited for its turn, for which the other side is not to blame. */
  connecting(): void;
  /** It has a connection, and is on its way. Called again where it is sent once more, over another one. */
  sent(): void;
  /** The other side has it in hand: queued (HTTP 102) or begun. Called once at most. */
  acknowledged(): void;
  /** Bytes have arrived. */
  progressed(bytes: number): void;
  answered(answer: ChunkAnswer): void;
  /** `peer_unreachable`, `peer_protocol`, `peer_cut`, `aborted`; called instead of `answered`. */
  failed(error: WeirError): void;
}

/** The asking side. Time limits are the caller's: it cancels. */
export interface ChunkClient {
  /** Begins at once; never throws. @returns the way to cancel it; no event comes after that */
  fetch(member: Member, request: ChunkFetch, events: ChunkFetchEvents): () => void;
}

/** What the serving side sends. */
export type ServedChunk =
  | {
      readonly kind: 'chunk';
      /** Bytes of the whole blob. */
      readonly size: number;
      readonly start: number;
      readonly end: number;
      readonly attestation: Attestation | undefined;
      /** Reads into `target` from `position` of the blob on; resolves with the number of bytes, at least 1. */
      read(target: Uint8Array, position: number): Promise<number>;
      /** Called once, when all is sent or nobody wants it any more. `sent`: all bytes have left. */
      close(sent: boolean): void;
    }
  | Exclude<ChunkAnswer, { readonly kind: 'chunk' }>;

/** The serving side: decides what a member gets. */
export interface ChunkSource {
  /**
   * @param acknowledge to be called where the answer will take a while: the asker then knows that it is in hand
   * @param signal aborted when the asker is gone
   */
  serve(
    from: PeerId,
    request: ChunkFetch,
    acknowledge: () => void,
    signal: AbortSignal,
  ): Promise<ServedChunk>;
}
