/** News for peers, gathered for some milliseconds: chunks that are here, and chunks that entered the cluster. */
import type { PeerId } from '../protocol/peer-id.ts';
import type { TurnBatcher } from './turn-batcher.ts';
import { MESSAGE_LIMITS, type SwarmKey, type SwarmMessage } from '../protocol/messages.ts';
import type { PeerSet } from './peer-set.ts';
import type { Attestation } from '../protocol/attestation.ts';

const NO_PAGES: readonly [] = [];

export interface HaveBatcherOptions {
  readonly swarm: SwarmKey;
  readonly batcher: TurnBatcher;
  /** Milliseconds for which news may wait for more. */
  readonly batch: () => number;
  readonly peers: Pick<PeerSet, 'all' | 'has'>;
  readonly fetchGroup: () => number;
  readonly send: (peer: PeerId, message: SwarmMessage) => void;
}

interface AttestedNews {
  readonly attestation: Attestation;
  /** Peers that sent it too: they need not be told. */
  readonly known: PeerId[];
}

export class HaveBatcher {
  readonly #options: HaveBatcherOptions;
  #have: number[] = [];
  #attestations: Map<number, AttestedNews> = new Map();
  #cancel: (() => void) | undefined;

  constructor(options: HaveBatcherOptions) {
    this.#options = options;
  }

  have(index: number): void {
    this.#have.push(index);
    this.#schedule();
  }

  attested(attestation: Attestation, from: PeerId | undefined): void {
    this.#attestations.set(attestation.index, { attestation, known: from === undefined ? [] : [from] });
    this.#schedule();
  }

  /** One more peer has sent this attestation, which may still wait here. */
  isKnown(index: number, to: PeerId): void {
    this.#attestations.get(index)?.known.push(to);
  }

  /** Sends at once what waits. */
  flush(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    const { swarm, peers, send, fetchGroup } = this.#options;
    const here = this.#have;
    const news = [...this.#attestations.values()];
    this.#have = [];
    this.#attestations = new Map();
    for (const swarmPeer of peers.all()) {
      const { id } = swarmPeer;
      // A peer is not told about chunks that it has itself: that saves half of all messages.
      const indices: number[] = [];
      for (const index of here) if (!peers.has(swarmPeer, index)) indices.push(index);
      for (const page of pages(indices, MESSAGE_LIMITS.indices)) {
        send(id, { kind: 'have', swarm, indices: page });
      }
      const attestations: Attestation[] = [];
      for (const { known, attestation } of news) {
        if (attestation.by === id || peers.has(swarmPeer, attestation.index) || known.includes(id)) continue;
        attestations.push(attestation);
      }
      for (const page of pages(attestations, MESSAGE_LIMITS.attestations)) {
        send(id, { kind: 'attested', swarm, fetchGroup: fetchGroup(), attestations: page });
      }
    }
  }

  #schedule(): void {
    this.#cancel ??= this.#options.batcher.within(this.#options.batch(), () => this.flush());
  }
}

function pages<T>(items: readonly T[], size: number): readonly (readonly T[])[] {
  if (items.length === 0) return NO_PAGES;
  if (items.length <= size) return [items];
  const count = Math.ceil(items.length / size);
  return Array.from({ length: count }, (_, at) => items.slice(at * size, (at + 1) * size));
}
