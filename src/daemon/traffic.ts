/** Counts the bytes and events between this node and its peers: for metrics, `weir status`, `weir peers` and the log. */
import { LRUCache } from 'lru-cache';
import type { WeirError } from '../util/errors.ts';
import type { Membership, SuspicionReason } from '../cluster/membership.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { SwarmKey } from '../protocol/messages.ts';
import type { FetchReason, SwarmObserver } from '../swarm/environment.ts';
import type { Refusal } from '../transfer/admission.ts';
import type { PeerWireObserver } from '../bytes/peer-wire-options.ts';
import type { ServedReport } from '../bytes/peer-serving.ts';
import type { Logger } from './logger.ts';

/** Peers with counters of their own: as many as the largest cluster has members. */
const MAX_PEERS = 8192;

export interface PeerBytes {
  from: number;
  to: number;
}

/** The metrics, which are told of the same events. */
export interface TrafficMeter {
  received(bytes: number, sameZone: boolean): void;
  sent(bytes: number, sameZone: boolean): void;
  fetching(reason: FetchReason): void;
  blamed(reason: SuspicionReason): void;
  refused(reason: Refusal): void;
  served(kind: ServedReport['kind']): void;
}

export class Traffic implements SwarmObserver, PeerWireObserver {
  /** Bytes since the start. */
  fromPeers = 0;
  fromOtherZones = 0;
  toPeers = 0;
  fromUpstream = 0;
  meter: TrafficMeter | undefined;
  readonly #membership: Membership;
  readonly #logger: Logger;
  readonly #peers: LRUCache<PeerId, PeerBytes> = new LRUCache({ max: MAX_PEERS });

  constructor(membership: Membership, logger: Logger) {
    this.#membership = membership;
    this.#logger = logger;
  }

  bytesOf(peer: PeerId): Readonly<PeerBytes> {
    return this.#peers.get(peer) ?? { from: 0, to: 0 };
  }

  received(_swarm: SwarmKey, from: PeerId, bytes: number): void {
    const sameZone = this.isSameZone(from);
    this.fromPeers += bytes;
    if (!sameZone) this.fromOtherZones += bytes;
    this.#count(from).from += bytes;
    this.meter?.received(bytes, sameZone);
  }

  fetching({ digest }: SwarmKey, first: number, count: number, reason: FetchReason): void {
    this.meter?.fetching(reason);
    this.#logger.debug({ digest, first, count, reason }, 'chunks requested from upstream');
  }

  stumbled({ digest }: SwarmKey, error: WeirError): void {
    this.#logger.debug({ digest, err: error }, 'a request for chunks to upstream failed');
  }

  fetched(_swarm: SwarmKey, bytes: number): void {
    this.fromUpstream += bytes;
  }

  sent(_swarm: SwarmKey, to: PeerId, bytes: number): void {
    this.toPeers += bytes;
    this.#count(to).to += bytes;
    this.meter?.sent(bytes, this.isSameZone(to));
  }

  blamed({ digest }: SwarmKey, peer: PeerId, reason: SuspicionReason, detail: string | undefined): void {
    this.meter?.blamed(reason);
    const name = this.#membership.get(peer)?.name;
    const isGrave = reason === 'wrong-hash' || reason === 'wrong-bytes';
    this.#logger[isGrave ? 'warn' : 'debug']({ peer, name, reason, detail, digest }, 'peer suspected');
  }

  misled({ registry, digest }: SwarmKey, peer: PeerId): void {
    const name = this.#membership.get(peer)?.name;
    const message =
      'a member attested a wrong hash for bytes of this registry: this node does not share with it for this registry';
    this.#logger.warn({ peer, name, registry, digest }, message);
  }

  refused(reason: Refusal, address: string): void {
    this.meter?.refused(reason);
    this.#logger.debug({ reason, address }, 'connection to the peer port refused');
  }

  served(report: ServedReport): void {
    this.meter?.served(report.kind);
  }

  #count(peer: PeerId): PeerBytes {
    const known = this.#peers.get(peer) ?? { from: 0, to: 0 };
    this.#peers.set(peer, known);
    return known;
  }

  isSameZone(peer: PeerId): boolean {
    return this.#membership.get(peer)?.zone === this.#membership.self.zone;
  }
}
