/** Whom of those named by a rendezvous a node would have as neighbours. Pure. */
import { MAX_SEED_PEERS } from './parameters.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { TrackedPeer } from '../protocol/messages.ts';

export interface Preferences {
  readonly isSameZone: (peer: PeerId) => boolean;
  /** Whoever is known already, of another blob or to gossip with, costs no new connection. */
  readonly isKnown: (peer: PeerId) => boolean;
  /** So many of other zones are to come before those of the same zone. */
  readonly far: number;
}

/**
 * The best first: some who have all, then some of other zones, or else each zone would fetch the blob for itself, then
 * those of the same zone, then the rest. Of each kind the known ones come first; otherwise the order stays.
 */
export function inOrderOfChoice(
  members: readonly TrackedPeer[],
  { isSameZone, isKnown, far: wanted }: Preferences,
): readonly PeerId[] {
  const known = new Set(members.filter(({ peer }) => isKnown(peer)));
  const ordered = [...known, ...members.filter((member) => !known.has(member))];
  const seeds = ordered.filter(({ complete }) => complete).slice(0, MAX_SEED_PEERS);
  const near = ordered.filter(({ peer }) => isSameZone(peer));
  const far = ordered.filter(({ peer }) => !isSameZone(peer));
  const first = far.slice(0, Math.max(0, wanted));
  return [...new Set([...seeds, ...first, ...near, ...far].map(({ peer }) => peer))];
}
