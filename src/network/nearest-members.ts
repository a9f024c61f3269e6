/**
 * The members nearest to a key in Kademlia's sense: by the exclusive-or of SHA2-256 of the key and of the peer ID (Maymounkov
 * and Mazières, 2002; libp2p specs, kad-dht). All members are known, so that nobody has to be asked for the way to them.
 */
import { hash } from 'node:crypto';
import { peerIdFromString } from '@libp2p/peer-id';
import type { PeerId } from '../protocol/peer-id.ts';

interface Candidate {
  readonly peer: PeerId;
}

export class NearestMembers {
  /** The place of each member that was looked at. */
  readonly #slots: Map<PeerId, Buffer> = new Map();

  /** Up to `count` of the members, the nearest first. */
  of(key: Uint8Array, members: readonly Candidate[], count: number): readonly PeerId[] {
    const target = hash('sha256', key, 'buffer');
    this.#forget(members);
    const all = members.map(({ peer }) => ({ peer, distance: xor(this.#placeOf(peer), target) }));
    const sorted = all.toSorted((a, b) => Buffer.compare(a.distance, b.distance));
    return sorted.slice(0, count).map(({ peer }) => peer);
  }

  #placeOf(peer: PeerId): Buffer {
    let place = this.#slots.get(peer);
    if (place === undefined) {
      place = hash('sha256', peerIdFromString(peer).toMultihash().bytes, 'buffer');
      this.#slots.set(peer, place);
    }
    return place;
  }

  /** Those who have gone would be remembered for good. */
  #forget(members: readonly Candidate[]): void {
    if (this.#slots.size <= 2 * members.length) return;
    const present = new Set(members.map(({ peer }) => peer));
    for (const peer of this.#slots.keys()) if (!present.has(peer)) this.#slots.delete(peer);
  }
}

function xor(a: Uint8Array, b: Uint8Array): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ (b[index] ?? 0)));
}
