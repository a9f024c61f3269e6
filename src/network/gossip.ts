/**
 * Member records by gossipsub: members that join, that are still there, and that leave. Every member gets each
 * message, so there are few. member-sync.ts finds again what gossip loses.
 */
import { TopicValidatorResult } from '@libp2p/gossipsub';
import { isWeirError } from '../util/errors.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { decodeGossip, encodeGossip } from '../protocol/sync-messages.ts';
import type { SignedMember } from '../protocol/signed-record.ts';
import { weirPeerIdOf } from './connection-gater.ts';
import type { RecordIntake } from './record-intake.ts';
import type { Libp2pNode } from './libp2p-node.ts';

export class Gossip {
  readonly #libp2p: Libp2pNode;
  readonly #topic: string;
  readonly #recordIntake: RecordIntake;
  readonly #mesh: Set<string> = new Set();

  constructor(libp2p: Libp2pNode, topic: string, recordIntake: RecordIntake) {
    this.#libp2p = libp2p;
    this.#topic = topic;
    this.#recordIntake = recordIntake;
  }

  start(): void {
    const { pubsub } = this.#libp2p.services;
    // The validator applies the record: gossipsub does not pass on records that it refuses or knows already.
    pubsub.topicValidators.set(this.#topic, (from, { data }) => this.#take(data, weirPeerIdOf(from)));
    pubsub.addEventListener('gossipsub:graft', ({ detail }) => this.#mesh.add(detail.peerId));
    pubsub.addEventListener('gossipsub:prune', ({ detail }) => this.#mesh.delete(detail.peerId));
    pubsub.subscribe(this.#topic);
  }

  /** How many peers have subscribed to the topic. */
  get listeners(): number {
    return this.#libp2p.services.pubsub.getSubscribers(this.#topic).length;
  }

  /** Peers with open gossip streams, in the mesh or not. */
  get peers(): ReadonlySet<PeerId> {
    return new Set(this.#libp2p.services.pubsub.getPeers().flatMap((peer) => weirPeerIdOf(peer) ?? []));
  }

  /** @returns how many peers it was sent to: 0 if nobody has subscribed. @throws gossipsub's error */
  async publish(record: SignedMember): Promise<number> {
    const { recipients } = await this.#libp2p.services.pubsub.publish(this.#topic, encodeGossip(record));
    return recipients.length;
  }

  /** Whether gossip goes to this peer directly. */
  isMeshPeer(peer: PeerId): boolean {
    return this.#mesh.has(peer);
  }

  /** The peer is gone. gossipsub has no event for that. */
  forget(peer: PeerId): void {
    this.#mesh.delete(peer);
  }

  #take(data: Uint8Array, from: PeerId | undefined): TopicValidatorResult {
    try {
      const record = decodeGossip(data);
      if (record === undefined) return TopicValidatorResult.Accept; // from a newer version; others may know it
      const isNeeded = this.#recordIntake.gossip(record, from);
      if (isNeeded !== undefined) return isNeeded ? TopicValidatorResult.Accept : TopicValidatorResult.Ignore;
    } catch (error) {
      if (!isWeirError(error, 'peer_protocol')) throw error;
    }
    return TopicValidatorResult.Reject;
  }
}
