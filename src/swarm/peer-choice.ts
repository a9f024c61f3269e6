/** Which of the members that a tracker names a node prefers as peers. Pure. */
import { MAX_SEED_PEERS } from './parameters.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { TrackedPeer } from '../protocol/messages.ts';

export interface Preferences {
  readonly isSameZone: (peer: PeerId) => boolean;
  /** A peer that is known from another blob or by gossip costs no new connection. */
  readonly isKnown: (peer: PeerId) => boolean;
  /** How many members of other zones come before those of the same zone. */
  readonly far: number;
}

/**
 * The best first: some seeds; then some members of other zones, or each zone would fetch the blob for itself; then
 * those of the same zone; then the rest. Within each kind known members come first; otherwise the order stays.
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
