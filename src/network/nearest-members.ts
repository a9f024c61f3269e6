/**
 * The members nearest to a key in Kademlia's sense: by the XOR of SHA2-256 of the key and of the peer ID (Maymounkov
 * and Mazières, 2002; libp2p specs, kad-dht). All members are known, so no search over the network is needed.
 */
import { hash } from 'node:crypto';
import { peerIdFromString } from '@libp2p/peer-id';
import type { PeerId } from '../protocol/peer-id.ts';

interface Candidate {
  readonly peer: PeerId;
}

export class NearestMembers {
  /** Each member's position in the key space. */
  readonly #positions: Map<PeerId, Buffer> = new Map();

  /** Up to `count` of the members, the nearest first. */
  of(key: Uint8Array, members: readonly Candidate[], count: number): readonly PeerId[] {
    const target = hash('sha256', key, 'buffer');
    this.#forget(members);
    const all = members.map(({ peer }) => ({ peer, distance: xor(this.#positionOf(peer), target) }));
    const sorted = all.toSorted((a, b) => Buffer.compare(a.distance, b.distance));
    return sorted.slice(0, count).map(({ peer }) => peer);
  }

  #positionOf(peer: PeerId): Buffer {
    let position = this.#positions.get(peer);
    if (position === undefined) {
      position = hash('sha256', peerIdFromString(peer).toMultihash().bytes, 'buffer');
      this.#positions.set(peer, position);
    }
    return position;
  }

  /** Members that are gone would be kept for good. */
  #forget(members: readonly Candidate[]): void {
    if (this.#positions.size <= 2 * members.length) return;
    const present = new Set(members.map(({ peer }) => peer));
    for (const peer of this.#positions.keys()) if (!present.has(peer)) this.#positions.delete(peer);
  }
}

function xor(a: Uint8Array, b: Uint8Array): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ (b[index] ?? 0)));
}
