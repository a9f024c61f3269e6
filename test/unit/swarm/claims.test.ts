/** The claims of an owner: the one lock on fetching a chunk from upstream. */
import assert from 'node:assert/strict';
import type { PeerId } from '../../../src/protocol/peer-id.ts';
import { Claims } from '../../../src/swarm/claims.ts';
import { CLAIM_OVERDUE, CLAIM_TIMEOUT, MAX_CLAIMS } from '../../../src/swarm/parameters.ts';
import { namedSwarm } from '../../simulator/names.ts';

describe('Claims', () => {
  const swarm = namedSwarm('claimed');
  const claimsOf = () => {
    const clock = { now: 0 };
    const dead = new Set<PeerId>();
    return { clock, dead, claims: new Claims({ now: () => clock.now }, (name) => !dead.has(name)) };
  };
  const [a, b, c] = ['peer-a', 'peer-b', 'peer-c'] as [PeerId, PeerId, PeerId];

  it('grants one claim at a time, until its holder dies, releases it or is silent', () => {
    const { claims, clock, dead } = claimsOf();
    assert.ok(claims.take(swarm, 1, a));
    assert.ok(!claims.take(swarm, 1, b));
    assert.ok(claims.take(swarm, 2, b), 'another chunk');
    assert.ok(claims.isTaken(swarm, 1, b) && !claims.isTaken(swarm, 1, a));
    claims.release(swarm, 1, b); // it is not the claimant
    assert.ok(!claims.take(swarm, 1, b));
    claims.release(swarm, 1, a);
    assert.ok(claims.take(swarm, 1, b));
    dead.add(b);
    assert.ok(claims.take(swarm, 1, c));
    clock.now += CLAIM_TIMEOUT - 1;
    assert.ok(!claims.take(swarm, 1, a));
    clock.now += 1;
    assert.ok(claims.take(swarm, 1, a));
  });

  it('names the claimant that has the chunk', () => {
    const { claims, dead } = claimsOf();
    claims.take(swarm, 1, a);
    claims.done(swarm, 1, b); // it is not the claimant
    assert.equal(claims.holder(swarm, 1), undefined);
    claims.done(swarm, 1, a);
    assert.equal(claims.holder(swarm, 1), a);
    claims.release(swarm, 1, a); // it has the chunk all the same
    assert.equal(claims.holder(swarm, 1), a);
    dead.add(a);
    assert.equal(claims.holder(swarm, 1), undefined);
    assert.ok(claims.take(swarm, 1, b));
  });

  it('grants a claim to one more member if it is renewed for long and brings nothing', () => {
    const { claims, clock } = claimsOf();
    claims.take(swarm, 1, a);
    for (; clock.now < CLAIM_OVERDUE; clock.now += CLAIM_TIMEOUT / 2) {
      assert.ok(claims.take(swarm, 1, a) && !claims.take(swarm, 1, b), `${clock.now}`);
    }
    assert.ok(claims.take(swarm, 1, b));
    assert.ok(!claims.take(swarm, 1, c), 'one in a time');
    assert.ok(!claims.take(swarm, 1, a));
  });

  it('begins anew if a claimant that had the chunk asks for it again', () => {
    const { claims, clock } = claimsOf();
    claims.take(swarm, 1, a);
    claims.done(swarm, 1, a);
    clock.now += 2 * CLAIM_OVERDUE;
    assert.ok(claims.take(swarm, 1, a));
    assert.ok(!claims.take(swarm, 1, b));
  });

  it('remembers a bounded number', () => {
    const { claims } = claimsOf();
    for (let index = 0; index < 2 * MAX_CLAIMS; index++) claims.take(swarm, index, a);
    assert.equal(claims.size, MAX_CLAIMS);
  });
});
