/** Everything outside of the policy; the daemon and the simulator bring their own. */
import type { ChunkBytes } from '../util/content.ts';
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
import type { WholeRegistries } from './whole-registries.ts';
import type { MissingChunks } from './missing-chunks.ts';
import type { RttEstimator } from './rtt-estimator.ts';
import type { Parameters } from './parameters.ts';
import type { Scheduler } from './scheduler.ts';

/** The registry, chunk by chunk. */
export interface ChunkUpstream {
  /**
   * Fetches `count` chunks from `first` on with one request.
   * @param token delegated by a peer; used if this node's own credentials are refused
   * @returns a function that stops it; no event comes after that
   */
  fetch(first: number, count: number, token: string | undefined, events: ChunkUpstreamEvents): () => void;
}

export interface ChunkUpstreamEvents {
  progressed(bytes: number): void;
  /** Nothing is read for the moment, since this node has no room for it. `false`: reading goes on. */
  held(isHeld: boolean): void;
  /** @param release called by the receiver when it needs the bytes no more */
  chunk(index: number, bytes: ChunkBytes, release: () => void): void;
  /** The registry answers a part of the blob with the whole; to be told before the first chunk. */
  whole(): void;
  /** The request is over, with all chunks delivered or with an error. */
  ended(error: WeirError | undefined): void;
}

/** Keeps verified chunks. */
export interface Sink {
  has(index: number): boolean;
  /** sha256 of a chunk that is there; undefined if it is not known. */
  hash(index: number): Uint8Array | undefined;
  /** Writes the chunk if it has the hash (any hash if none is given), then calls back once. */
  write(
    index: number,
    bytes: ChunkBytes,
    hash: Uint8Array | undefined,
    done: (result: SinkResult) => void,
  ): void;
}

export type SinkResult =
  | { readonly kind: 'written'; readonly hash: Uint8Array }
  | { readonly kind: 'mismatch' }
  /** The bytes are gone, with the thread that held them: the chunk is wanted again. */
  | { readonly kind: 'lost' }
  | { readonly kind: 'failed'; readonly error: WeirError };

/** Of one node, for all blobs. */
export interface Environment {
  readonly membership: Membership;
  readonly scheduler: Scheduler;
  readonly parameters: Parameters;
  readonly client: ChunkClient;
  readonly send: (peer: PeerId, message: SwarmMessage) => void;
  /** Whether a message to this peer needs no new connection: there is one, or it is being made. */
  readonly isConnected: (peer: PeerId) => boolean;
  /** Signs that the registry gave this node a chunk of this hash. */
  attest(swarm: SwarmKey, size: number, index: number, hash: Uint8Array): Attestation;
  isGenuine(attestation: Attestation, swarm: SwarmKey, size: number): boolean;
  /** Peers that have answered: a first contact takes longer, for its two handshakes. */
  readonly contacted: Set<PeerId>;
  /** How long peers take to acknowledge a request, and between two bytes; how long a MiB from upstream takes. */
  readonly rtt: { readonly ack: RttEstimator; readonly stall: RttEstimator; readonly upstream: RttEstimator };
  /** How often in a row each peer was silent or stalled. */
  readonly strikes: Map<PeerId, number>;
  /** Peers that missed several acknowledgements in a row (snubbed), with the time until which they are not asked. */
  readonly snubbed: Map<PeerId, number>;
  /** Members that are not believed about a registry. */
  readonly distrust: RegistryDistrust;
  /** Registries that answer a Range with the whole blob. */
  readonly wholeRegistries: WholeRegistries;
  /** Peers that did not send a chunk that they had announced, and have not sent `bye` since. */
  readonly missing: MissingChunks;
  /** Bounds the requests under way, over all blobs. */
  readonly requestWindow: RequestWindow;
  /** Bounds the bytes that are asked for, or here and not written, over all blobs. */
  readonly room: ReceiveBudget;
  /** Decides when news leaves. */
  readonly batcher: TurnBatcher;
  /** For the log and the metrics. */
  readonly observer: SwarmObserver;
}

/**
 * Why a node fetches from upstream: it is the chunk's owner; an owner granted it the claim, or a peer asks this node as
 * owner; it is alone; or nothing else makes progress.
 */
export type FetchReason = 'owner' | 'claimed' | 'alone' | 'rescue';

export interface SwarmObserver {
  /** An upstream request begins. */
  fetching(swarm: SwarmKey, first: number, count: number, reason: FetchReason): void;
  /** A chunk came from a peer, and was right. */
  received(swarm: SwarmKey, from: PeerId, bytes: number): void;
  /** A chunk came from upstream. */
  fetched(swarm: SwarmKey, bytes: number): void;
  sent(swarm: SwarmKey, to: PeerId, bytes: number): void;
  /** An upstream request failed, or hung. */
  stumbled(swarm: SwarmKey, error: WeirError): void;
  /** @param detail what the peer did, if the reason alone does not tell */
  blamed(swarm: SwarmKey, peer: PeerId, reason: SuspicionReason, detail: string | undefined): void;
  /** The peer attested a wrong hash, as one that the registry gave it. */
  misled(swarm: SwarmKey, peer: PeerId): void;
}
