/** Whether something may be asked of a peer now. */
import type { Membership } from '../membership/member.ts';
import type { PeerName } from '../peer/peer-name.ts';

/** Whether it is among the live members, who are in the order of their names. */
export function isLiveMember(membership: Pick<Membership, 'live'>, peer: PeerName): boolean {
  const members = membership.live();
  let low = 0;
  let high = members.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const name = members[middle]?.peer ?? '';
    if (name === peer) return true;
    if (name < peer) low = middle + 1;
    else high = middle - 1;
  }
  return false;
}
