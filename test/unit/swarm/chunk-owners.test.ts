/** Which members own the chunks of a blob. */
import assert from 'node:assert/strict';
import type { Member } from '../../../src/protocol/member.ts';
import { ChunkOwners } from '../../../src/swarm/chunk-owners.ts';
import { memberNamed, namedSwarm } from '../../simulator/names.ts';

function ownersOf(members: readonly Member[], name = 'blob'): Set<string> {
  const owners = new ChunkOwners(namedSwarm(name), { live: () => members, version: 1 });
  return new Set(Array.from({ length: 2000 }, (_, index) => owners.of(index)[0]?.peer ?? 'nobody'));
}

describe('ChunkOwners', () => {
  const members = Array.from({ length: 400 }, (_, index) => memberNamed(index, 1));

  it('are all members of a small cluster, and a bounded set of a large one', () => {
    assert.equal(ownersOf(members.slice(0, 12)).size, 12);
    assert.equal(ownersOf(members.slice(0, 100)).size, 16);
    assert.equal(ownersOf(members).size, 50);
  });

  it('are others for another blob', () => {
    const [one, other] = [ownersOf(members), ownersOf(members, 'another')];
    assert.ok(one.intersection(other).size < 20, `${one.intersection(other).size} of 50 own chunks of both`);
  });

  it('stay, but for one, if a member leaves', () => {
    const before = ownersOf(members);
    const [gone] = before;
    const after = ownersOf(members.filter(({ peer }) => peer !== gone));
    assert.ok(before.difference(after).size <= 1);
  });
});
