/** Adds up what requests brought: bytes by source and peer, and the time that they waited. */
import type { PeerId } from '../protocol/peer-id.ts';
import type { BlobOrigin } from '../pull/blob-origin.ts';
import { TOP_PEERS, type PullPeerReport, type SourcesReport } from '../status/pull-report.ts';
import { addWaits, NO_WAITS, type WaitSeconds } from '../util/waits.ts';

/** Peers whose bytes are told apart; a swarm connects to a few dozen. Further ones count in the sum. */
const MAX_PEERS = 512;

export type ByPeer = ReadonlyMap<PeerId, number>;

/** Some of a blob's bytes, by where they came from. */
export interface BytesBySource {
  readonly sources: SourcesReport;
  readonly byPeer: ByPeer;
}

/**
 * Divides the bytes that one request got as the whole blob is divided. A whole blob is divided exactly; of a part it is not
 * known which of its bytes came from where.
 */
export function divide(bytes: number, origin: BlobOrigin): BytesBySource {
  const whole = origin.store + origin.peers + origin.registry;
  if (whole === 0) return { sources: { store: bytes, peers: 0, registry: 0 }, byPeer: new Map() };
  const share = bytes / whole;
  const [store, peers] = [Math.floor(origin.store * share), Math.floor(origin.peers * share)];
  const rest = bytes - store - peers;
  const sources =
    origin.registry > 0
      ? { store, peers, registry: rest }
      : origin.peers > 0
        ? { store, peers: peers + rest, registry: 0 }
        : { store: store + rest, peers, registry: 0 };
  const byPeer = new Map<PeerId, number>();
  for (const [peer, sent] of origin.byPeer) byPeer.set(peer, Math.floor(sent * share));
  return { sources, byPeer };
}

export class PullTally {
  #sources: SourcesReport = { store: 0, peers: 0, registry: 0 };
  #waits: WaitSeconds = NO_WAITS;
  readonly #byPeer: Map<PeerId, number> = new Map();

  get sources(): SourcesReport {
    return this.#sources;
  }

  get bytes(): number {
    const { store, peers, registry } = this.#sources;
    return store + peers + registry;
  }

  get waits(): WaitSeconds {
    return this.#waits;
  }

  add({ sources, byPeer }: BytesBySource, waits: WaitSeconds): void {
    const { store, peers, registry } = this.#sources;
    this.#sources = {
      store: store + sources.store,
      peers: peers + sources.peers,
      registry: registry + sources.registry,
    };
    this.#waits = addWaits(this.#waits, waits);
    for (const [peer, bytes] of byPeer) {
      const before = this.#byPeer.get(peer);
      if (before !== undefined || this.#byPeer.size < MAX_PEERS)
        this.#byPeer.set(peer, (before ?? 0) + bytes);
    }
  }

  /** The peers that sent the most, the first of them first. */
  topPeers(nameOf: (peer: PeerId) => string): readonly PullPeerReport[] {
    return [...this.#byPeer]
      .toSorted(([, a], [, b]) => b - a)
      .slice(0, TOP_PEERS)
      .map(([peer, bytes]) => ({ peer, name: nameOf(peer), bytes }));
  }
}
