/** What is outside of the policy; the daemon and the simulator bring their own. */
import type { WeirError } from '../util/errors.ts';
import type { Membership, SuspicionReason } from '../cluster/membership.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { SwarmKey, SwarmMessage } from '../protocol/messages.ts';
import type { Attestation } from '../protocol/attestation.ts';
import type { ReceiveBudget } from '../util/receive-budget.ts';
import type { ChunkClient } from '../transfer/chunk-exchange.ts';
import type { TurnBatcher } from './turn-batcher.ts';
import type { RequestWindow } from './request-window.ts';
import type { RegistryDistrust } from './registry-distrust.ts';
import type { MissingChunks } from './missing-chunks.ts';
import type { RttEstimator } from './rtt-estimator.ts';
import type { Parameters } from './parameters.ts';
import type { Scheduler } from './scheduler.ts';

/** The registry, chunk by chunk. */
export interface ChunkUpstream {
  /**
   * Fetches `count` chunks from `first` on with one request.
   * @param token delegated by a peer; used where what this node has of its own is refused
   * @returns the way to stop it; no event comes after that
   */
  fetch(first: number, count: number, token: string | undefined, events: ChunkUpstreamEvents): () => void;
}

export interface ChunkUpstreamEvents {
  progressed(bytes: number): void;
  /** Nothing is read for the moment: this node has no room for it. `false`: that is over. */
  held(isHeld: boolean): void;
  /** @param release to be called when the bytes are not needed any more */
  chunk(index: number, bytes: Uint8Array, release: () => void): void;
  /** Over, with all chunks delivered or with an error. */
  ended(error: WeirError | undefined): void;
}

/** Where checked chunks go. */
export interface Sink {
  has(index: number): boolean;
  /** sha256 of a chunk that is there; undefined where it is not known. */
  hash(index: number): Uint8Array | undefined;
  /** Writes the chunk if it has the hash (any hash where none is given), then calls back once. */
  write(
    index: number,
    bytes: Uint8Array,
    hash: Uint8Array | undefined,
    done: (result: SinkResult) => void,
  ): void;
}

export type SinkResult =
  | { readonly kind: 'written'; readonly hash: Uint8Array }
  | { readonly kind: 'mismatch' }
  | { readonly kind: 'failed'; readonly error: WeirError };

/** Of one node, for all blobs. */
export interface Environment {
  readonly membership: Membership;
  readonly scheduler: Scheduler;
  readonly parameters: Parameters;
  readonly client: ChunkClient;
  readonly send: (peer: PeerId, message: SwarmMessage) => void;
  /** Whether a word to this peer needs no new connection: there is one, or it is being made. */
  readonly isConnected: (peer: PeerId) => boolean;
  /** Signs that the registry gave this node a chunk of this hash. */
  attest(swarm: SwarmKey, size: number, index: number, hash: Uint8Array): Attestation;
  isGenuine(attestation: Attestation, swarm: SwarmKey, size: number): boolean;
  /** Peers that have answered: a first contact takes longer, for its two handshakes. */
  readonly contacted: Set<PeerId>;
  /** How long peers take to acknowledge a request, and between two bytes; how long a MiB from the registry takes. */
  readonly rtt: { readonly ack: RttEstimator; readonly stall: RttEstimator; readonly origin: RttEstimator };
  /** How often in a row each peer was silent or stalled. */
  readonly strikes: Map<PeerId, number>;
  /** Scheduler's milliseconds until which those are left alone that did not even acknowledge, several times in a row. */
  readonly snubbed: Map<PeerId, number>;
  /** Whose word counts for nothing in the name of a registry. */
  readonly distrust: RegistryDistrust;
  /** Who did not send what it had said to have, and has not said since that it has it no more. */
  readonly missing: MissingChunks;
  /** Requests under way, over all blobs. */
  readonly requestWindow: RequestWindow;
  /** Bytes that are asked for or here, and not written, over all blobs. */
  readonly room: ReceiveBudget;
  /** When news leaves. */
  readonly batcher: TurnBatcher;
  /** For the log and the metrics. */
  readonly observer: SwarmObserver;
}

/**
 * Why a node goes to the registry: it is the chunk's home, or stands in for it; the home leaves it to this node (or a
 * peer asks this node as home); nobody else is there; nothing else moves.
 */
export type FetchReason = 'owner' | 'backup' | 'claimed' | 'alone' | 'rescue';

export interface SwarmObserver {
  /** A request to the registry begins. */
  fetching(swarm: SwarmKey, first: number, count: number, reason: FetchReason): void;
  /** A chunk came from a peer, and was right. */
  received(swarm: SwarmKey, from: PeerId, bytes: number): void;
  /** A chunk came from the registry. */
  fetched(swarm: SwarmKey, bytes: number): void;
  sent(swarm: SwarmKey, to: PeerId, bytes: number): void;
  /** A request to the registry failed, or hung. */
  stumbled(swarm: SwarmKey, error: WeirError): void;
  /** @param detail what the peer did, where the reason alone does not tell */
  blamed(swarm: SwarmKey, peer: PeerId, reason: SuspicionReason, detail: string | undefined): void;
  /** The peer stated a hash that a chunk of the blob has not, as what the registry gave it. */
  misled(swarm: SwarmKey, peer: PeerId): void;
}
