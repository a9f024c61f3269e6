/**
 * The exchange of chunks as the swarm sees it: one member asks another for a chunk of a blob. A carrier (the peer wire)
 * implements both sides; no code above knows how bytes travel.
 */
import type { ChunkBytes, FileContent } from '../util/content.ts';
import type { WeirError } from '../util/errors.ts';
import type { RepositoryName } from '../oci/repository.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { Member } from '../protocol/member.ts';
import type { SwarmKey } from '../protocol/messages.ts';
import type { Attestation } from '../protocol/attestation.ts';

/** Lets the asked member, as owner, fetch a chunk from the registry if it has not got it yet. */
export interface OwnerRequest {
  readonly repository: RepositoryName;
  /** A Bearer token that the asker's runtime presented. It is for this request only: never stored, never logged. */
  readonly token: string | undefined;
  /** The blob's size in bytes, from which the chunk layout follows; undefined for a manifest. */
  readonly size?: number | undefined;
}

export interface ChunkFetch {
  readonly swarm: SwarmKey;
  /** Undefined: the whole blob, which is then a manifest. */
  readonly range: { readonly start: number; readonly end: number } | undefined;
  /** Set if the peer is asked as the chunk's owner. */
  readonly owner: OwnerRequest | undefined;
}

export type ChunkAnswer =
  | {
      readonly kind: 'chunk';
      /** A chunk is in the memory of a byte worker, hashed. A whole blob is here: it is a document. */
      readonly bytes: ChunkBytes;
      /** Bytes of the whole blob. */
      readonly size: number;
      /** Undefined for a whole blob: its digest is enough. */
      readonly attestation: Attestation | undefined;
      /**
       * To be called once `bytes` is not needed any more: the memory of a chunk is not freed otherwise, and is used for
       * the next one. Harmless after the chunk was written.
       */
      readonly release?: () => void;
    }
  /** Not here. */
  | { readonly kind: 'absent' }
  /** All slots are taken; `load` is the number of requests that are being served or wait. */
  | { readonly kind: 'busy'; readonly load: number }
  /** As owner: the chunk is on its way, ask again after so many milliseconds. */
  | { readonly kind: 'retry'; readonly after: number }
  /** As owner: these peers have it. At most 3. */
  | { readonly kind: 'redirect'; readonly holders: readonly PeerId[] }
  /** As owner: it cannot fetch this, because upstream refuses it or it has no credential. */
  | { readonly kind: 'unable' };

/** Events of one request. */
export interface ChunkFetchEvents {
  /** A connection is being made for it. Until then it waited for its turn, which is not the peer's fault. */
  connecting(): void;
  /** It has been sent over a connection. Called again if it is sent once more, over another connection. */
  sent(): void;
  /** The peer has it in hand: queued or begun. Called at most once. */
  acknowledged(): void;
  /** Bytes have arrived; told some time later, for several reads together. */
  progressed(bytes: number): void;
  answered(answer: ChunkAnswer): void;
  /** `peer_unreachable`, `peer_protocol`, `peer_cut`, `aborted`, `worker_lost`; called instead of `answered`. */
  failed(error: WeirError): void;
}

/** The asking side. It has no time limits: the caller cancels. */
export interface ChunkClient {
  /** Begins at once; never throws. @returns cancels the request; no event comes after that */
  fetch(member: Member, request: ChunkFetch, events: ChunkFetchEvents): () => void;
}

/** Where the bytes of an answer are. */
export interface ServedBody {
  /** Bytes of the whole blob. */
  readonly size: number;
  /** The whole blob: its file, or the bytes of a document. */
  readonly body: FileContent | Uint8Array;
  /** Of a blob that is arriving: the generation of the file in which the chunk is there. */
  readonly presentIn?: number | undefined;
  /** Aborted when the file is to be closed before its time. */
  readonly stop?: AbortSignal | undefined;
  /** A byte worker found the file wrong. */
  readonly corrupt?: (() => Promise<void>) | undefined;
}

/** The answer of the serving side. */
export type ServedChunk =
  | (ServedBody & {
      readonly kind: 'chunk';
      readonly start: number;
      readonly end: number;
      readonly attestation: Attestation | undefined;
      /** Called once, when all bytes are sent or the peer has gone. `sent`: all bytes have left. */
      close(sent: boolean): void;
    })
  | Exclude<ChunkAnswer, { readonly kind: 'chunk' }>;

/** The serving side: decides on requests of members. */
export interface ChunkSource {
  /**
   * @param acknowledge to be called if the answer will take a while: the asker then knows that its request is in hand
   * @param signal aborted when the asker is gone
   */
  serve(
    from: PeerId,
    request: ChunkFetch,
    acknowledge: () => void,
    signal: AbortSignal,
  ): Promise<ServedChunk>;
}
