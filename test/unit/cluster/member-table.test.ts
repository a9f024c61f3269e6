import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { HOUR, MINUTE, SECOND } from '../../../src/util/clock.ts';
import type { Member } from '../../../src/protocol/member.ts';
import { differingBuckets, EXPIRY } from '../../../src/cluster/member-records.ts';
import { MemberTable } from '../../../src/cluster/member-table.ts';
import { Identity } from '../../../src/protocol/identity.ts';
import { signMember, type SignedMember } from '../../../src/protocol/signed-record.ts';
import { ManualClock } from './clock.ts';

const identities = Array.from({ length: 12 }, () => Identity.generate());
const [me, a, b] = identities as [Identity, Identity, Identity];

function record(identity: Identity, sequence: number, changes: Partial<Member> = {}): SignedMember {
  return signMember(identity, {
    peer: identity.peer,
    sequence,
    name: 'node',
    zone: '',
    controlAddresses: [`/ip4/10.0.0.${identities.indexOf(identity)}/tcp/1`],
    dataAddresses: [],
    fingerprint: new Uint8Array(),
    version: '1',
    leaving: false,
    ...changes,
  });
}

describe('MemberTable', () => {
  let clock: ManualClock;
  let table: MemberTable;
  let changes: number;
  const live = (): readonly string[] => table.live().map(({ peer }) => peer);

  beforeEach(() => {
    clock = new ManualClock();
    table = new MemberTable({ self: me.peer, clock });
    changes = 0;
    table.onChange(() => (changes += 1));
  });

  const timeSuspect = (): number => {
    let ms = 0;
    for (; live().length === 1; ms += 500) clock.advance(500);
    return ms;
  };

  it('begins with this node alone', () => {
    assert.deepEqual(live(), [me.peer]);
    assert.equal(table.get(me.peer), table.self);
  });

  it('lists live members by peer ID, in the same array until one changes', () => {
    table.setSelf(record(me, 1));
    for (const identity of identities.slice(1)) table.apply(record(identity, 1));
    assert.deepEqual(live(), identities.map(({ peer }) => peer).toSorted());
    assert.equal(table.live(), table.live());
    const { version } = table;
    const before = table.live();
    table.apply(record(a, 1));
    assert.equal(table.live(), before);
    table.apply(record(a, 2, { zone: 'b' }));
    assert.notEqual(table.live(), before);
    assert.ok(table.version > version);
  });

  it('keeps the newest record, in any order of arrival', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([1, 2, 3, 4, 5, 6], { minLength: 1 }), (sequences) => {
        const fresh = new MemberTable({ self: me.peer, clock });
        for (const sequence of sequences) fresh.apply(record(a, sequence));
        assert.equal(fresh.get(a.peer)?.sequence, Math.max(...sequences));
      }),
      { numRuns: 30 },
    );
  });

  it('does not tell listeners of a mere refresh', () => {
    table.apply(record(a, 1));
    const { version } = table;
    const told = changes;
    assert.equal(table.apply(record(a, 2)), 'news');
    assert.equal(table.version, version);
    assert.equal(changes, told);
    assert.equal(table.get(a.peer)?.sequence, 2);
  });

  it('refuses a record that its member has not signed', () => {
    const forged = { ...record(a, 1), signature: b.sign(record(a, 1).encoded) };
    assert.equal(table.apply(forged), 'forged');
    assert.equal(table.get(a.peer), undefined);
  });

  it('ignores its own records, and reports one of an earlier run that is newer', () => {
    table.setSelf(record(me, 10));
    assert.equal(table.apply(record(me, 9)), 'old');
    assert.equal(table.apply(record(me, 10)), 'same');
    assert.equal(table.apply(record(me, 11)), 'own');
    assert.equal(table.self.sequence, 10);
  });

  it('does not list members that leave, even if an older record comes', () => {
    table.apply(record(a, 1));
    table.apply(record(a, 3, { leaving: true }));
    assert.deepEqual(live(), [me.peer]);
    assert.equal(table.get(a.peer)?.leaving, true);
    assert.equal(table.apply(record(a, 2)), 'old');
    table.apply(record(a, 4));
    assert.equal(live().length, 2);
  });

  it('forgets a member that has not renewed its record for 25 minutes', () => {
    table.setSelf(record(me, 1));
    table.apply(record(a, 1));
    clock.advance(EXPIRY - 1);
    assert.equal(live().length, 2);
    table.apply(record(b, 1), { age: 5 * MINUTE });
    clock.advance(1);
    assert.equal(table.get(a.peer)?.peer, a.peer); // readers of live members know it
    assert.deepEqual(live(), [me.peer, b.peer].toSorted());
    assert.equal(table.get(a.peer), undefined);
    clock.advance(20 * MINUTE);
    assert.deepEqual(live(), [me.peer]);
  });

  it('takes no record that is about to expire', () => {
    assert.equal(table.apply(record(a, 1), { age: EXPIRY - 30 * SECOND }), 'old');
    assert.equal(table.apply(record(a, 1), { age: EXPIRY - 2 * MINUTE }), 'news');
  });

  it('tells listeners of changes by time at the next tick', () => {
    table.apply(record(a, 1));
    table.suspect(a.peer, 'stalled');
    const told = changes;
    clock.advance(SECOND);
    assert.equal(changes, told);
    table.tick();
    assert.equal(changes, told + 1);
    table.tick();
    assert.equal(changes, told + 1);
  });

  it('tells listeners once of many records', () => {
    const records = identities.slice(1).map((identity) => ({ record: record(identity, 1), age: 0 }));
    const forged = { ...record(a, 7), signature: new Uint8Array(64) };
    assert.deepEqual(table.applyAll([...records, ...records, { record: forged, age: 0 }]), {
      news: 11,
      same: 11,
      old: 0,
      forged: 1,
      own: 0,
      refused: 0,
    });
    assert.equal(changes, 1);
  });

  it('stops calling back after unsubscribing', () => {
    let calls = 0;
    const stop = table.onChange(() => (calls += 1));
    stop();
    table.apply(record(a, 1));
    assert.equal(calls, 0);
  });

  describe('suspicion', () => {
    beforeEach(() => void table.apply(record(a, 1)));
    it('lasts a second, then twice as long each time, up to a minute', () => {
      const times: number[] = [];
      for (let i = 0; i < 8; i += 1) {
        table.suspect(a.peer, 'unreachable');
        times.push(timeSuspect() / SECOND);
      }
      assert.deepEqual(times, [1, 2, 4, 8, 16, 32, 60, 60]);
    });

    it('counts failures within one second once', () => {
      for (let i = 0; i < 10; i += 1) table.suspect(a.peer, 'stalled');
      assert.equal(timeSuspect(), SECOND);
    });

    it('is forgotten when the peer answers well, or after a while', () => {
      table.suspect(a.peer, 'stalled');
      timeSuspect();
      table.suspect(a.peer, 'stalled');
      table.clear(a.peer);
      assert.equal(live().length, 2);
      clock.advance(SECOND);
      table.suspect(a.peer, 'stalled');
      assert.equal(timeSuspect(), SECOND);
      clock.advance(11 * MINUTE);
      table.suspect(a.peer, 'stalled');
      assert.equal(timeSuspect(), SECOND);
    });

    it('as unreachable ends with a newer record', () => {
      table.suspect(a.peer, 'unreachable');
      assert.equal(live().length, 1);
      table.apply(record(a, 2));
      assert.equal(live().length, 2);
      clock.advance(SECOND);
      table.suspect(a.peer, 'wrong-bytes');
      table.apply(record(a, 3));
      assert.equal(live().length, 1);
    });

    it('lasts while the peer is probed, and is not counted again for that', () => {
      table.suspect(a.peer, 'unreachable');
      table.prolong(a.peer, 5 * SECOND);
      assert.equal(timeSuspect(), 5 * SECOND);
      table.prolong(a.peer, 5 * SECOND);
      assert.equal(live().length, 2);
      table.suspect(a.peer, 'unreachable');
      assert.equal(timeSuspect(), 2 * SECOND);
    });

    it('is listed with its end, although the wall clock was set', () => {
      table.suspect(a.peer, 'stalled');
      clock.stepWall(-HOUR);
      assert.deepEqual(table.suspects(), [
        { peer: a.peer, reason: 'stalled', until: clock.now() + SECOND, banned: false },
      ]);
      assert.equal(timeSuspect(), SECOND);
      assert.deepEqual(table.suspects(), []);
    });

    it('never hits this node', () => {
      table.suspect(me.peer, 'stalled');
      table.ban(me.peer, 'wrong-bytes');
      assert.ok(live().includes(me.peer));
    });
  });

  it('agrees with its list on whether one member is live', () => {
    table.apply(record(a, 1));
    table.apply(record(b, 1));
    const agrees = (): void => {
      for (const { peer } of identities) assert.equal(table.isLive(peer), live().includes(peer), peer);
    };
    agrees();
    table.suspect(a.peer, 'stalled');
    agrees();
    table.ban(b.peer, 'wrong-hash');
    agrees();
    clock.advance(HOUR);
    agrees();
  });

  describe('a ban', () => {
    it('lasts an hour, and no good answer ends it', () => {
      const banned: string[] = [];
      table.onBan((peer) => banned.push(peer));
      table.apply(record(a, 1));
      table.ban(a.peer, 'wrong-hash');
      assert.deepEqual(banned, [a.peer]);
      table.clear(a.peer);
      table.suspect(a.peer, 'stalled');
      clock.advance(HOUR - 1);
      assert.ok(table.isBanned(a.peer));
      assert.deepEqual(
        table.suspects().map(({ reason, banned: is }) => [reason, is]),
        [['wrong-hash', true]],
      );
      clock.advance(1);
      assert.equal(table.isBanned(a.peer), false);
    });

    it('by the configuration lasts for ever', () => {
      table = new MemberTable({ self: me.peer, clock, banned: [a.peer] });
      table.apply(record(a, 1));
      assert.deepEqual(live(), [me.peer]);
      clock.advance(1000 * HOUR);
      assert.ok(table.isBanned(a.peer));
      assert.ok(!Number.isNaN(new Date(table.suspects()[0]?.until ?? NaN).getTime()));
    });
  });

  describe('compared with another', () => {
    it('differs in the buckets with members that only one knows', () => {
      const other = new MemberTable({ self: identities[11]?.peer ?? a.peer, clock });
      for (const identity of identities.slice(1, 8)) {
        table.apply(record(identity, 1));
        other.apply(record(identity, 1));
      }
      const differing = (): Uint8Array => differingBuckets(table.records.digests(), other.records.digests());
      assert.deepEqual(differing(), new Uint8Array(8));
      table.apply(record(a, 2));
      table.apply(record(identities[9] ?? a, 1));
      other.applyAll(table.records.inBuckets(differing()));
      assert.deepEqual(differing(), new Uint8Array(8));
      assert.equal(other.get(a.peer)?.sequence, 2);
    });
  });
});
