/** How much of the table made-up members can take. */
import assert from 'node:assert/strict';
import { HOUR, MINUTE } from '../../../src/util/clock.ts';
import {
  EXPIRY,
  MAX_MEMBERS,
  MemberRecords,
  type RecordSource,
} from '../../../src/cluster/member-records.ts';
import { MAX_PER_ADDRESS, strangerAt } from '../../../src/cluster/record-sources.ts';
import { MemberTable } from '../../../src/cluster/member-table.ts';
import { Identity } from '../../../src/protocol/identity.ts';
import { peerIdOf, type PeerId } from '../../../src/protocol/peer-id.ts';
import { signMember, type SignedMember } from '../../../src/protocol/signed-record.ts';
import { ManualClock } from './clock.ts';

const NEVER_SIGNED = new Uint8Array(64);
const [ONE, OTHER] = [named(900_001), named(900_002)];

/** A peer ID whose key nobody has. */
function named(index: number): PeerId {
  const key = Buffer.alloc(32, 7);
  key.writeUInt32BE(index, 20);
  return peerIdOf(new Uint8Array(key));
}

/** An address of its own for each of thousands. */
function own(index: number): string {
  return `/ip4/10.${index >> 16}.${(index >> 8) & 255}.${index & 255}/tcp/4772`;
}

describe('MemberRecords', () => {
  let clock: ManualClock;
  let records: MemberRecords;

  beforeEach(() => {
    clock = new ManualClock();
    records = new MemberRecords(clock);
    records.sources.self = ['/ip4/10.255.255.255/tcp/1'];
  });

  function record(
    index: number,
    address = own(index),
    changes: Partial<SignedMember['member']> = {},
  ): SignedMember {
    const member = {
      peer: named(index),
      sequence: clock.now(),
      name: '',
      zone: '',
      version: '',
      controlAddresses: address === '' ? [] : [address],
      dataAddresses: [],
      fingerprint: new Uint8Array(),
      leaving: false,
      ...changes,
    };
    return { member, encoded: Buffer.from(`${index} ${member.sequence}`), signature: NEVER_SIGNED };
  }

  /** @returns how many were taken */
  function put(from: number, count: number, source: RecordSource, address?: string): number {
    let taken = 0;
    for (let i = from; i < from + count; i++) if (records.put(record(i, address), source)) taken++;
    return taken;
  }

  const isKnown = (index: number): boolean => records.get(named(index)) !== undefined;

  it('bounds the members at one address, from any source', () => {
    assert.equal(put(0, 100, {}, '/ip4/10.9.9.9/tcp/1'), MAX_PER_ADDRESS);
    assert.equal(put(100, 100, { by: ONE }, '/ip4/10.9.9.9/tcp/2'), 0);
    assert.equal(put(200, 100, { by: ONE }, '/dns/node.test/tcp/2'), MAX_PER_ADDRESS);
    assert.equal(put(300, 100, { by: ONE }, ''), MAX_PER_ADDRESS);
    records.delete(named(0));
    assert.equal(put(400, 100, {}, '/ip4/10.9.9.9/tcp/1'), 1, 'the place of one that has gone');
  });

  it('counts a member at its emptiest address, as a bridge may have the same one on all hosts', () => {
    for (let i = 0; i < 50; i++) {
      const controlAddresses = ['/ip4/172.17.0.1/tcp/4772', own(i)];
      assert.ok(records.put(record(i, '', { controlAddresses }), {}));
    }
  });

  it('counts IPv6 by address too, and one /64 up to a quarter of the table', () => {
    for (let i = 0; i < 3000; i++) records.put(record(i, `/ip6/fd00::${i.toString(16)}/tcp/1`), {});
    assert.equal(records.size, 2048);
    assert.ok(records.put(record(3001, '/ip6/fd00:1::1/tcp/1'), {}));
    assert.equal(put(4000, 20, {}, '/ip6/fd00:2:0:0::1/tcp/1'), MAX_PER_ADDRESS);
    assert.equal(put(5000, 20, {}, '/ip6/fd00:2::1/tcp/1'), 0, 'the same one, written otherwise');
  });

  it('counts ports of loopback as addresses if this node itself listens on loopback alone', () => {
    const at = (i: number): SignedMember => record(i, `/ip4/127.0.0.1/tcp/${i + 1}`);
    let taken = 0;
    for (let i = 0; i < 60; i++) if (records.put(at(i), {})) taken++;
    assert.equal(taken, MAX_PER_ADDRESS);
    records = new MemberRecords(clock);
    records.sources.self = ['/ip4/127.0.0.1/tcp/9999'];
    for (let i = 0; i < 60; i++) assert.ok(records.put(at(i), {}));
  });

  it('takes from one source half as many as all others, and a few at least', () => {
    assert.equal(put(0, 1000, { by: ONE }), 32);
    assert.equal(put(1000, 1000, { by: OTHER }), 32);
    assert.equal(put(2000, 400, {}), 400);
    assert.equal(put(3000, 1000, { by: ONE }), 184, 'together 216, of 432 others');
  });

  it('does not bound a neighbour at a configured address', () => {
    records.sources.trust(ONE);
    assert.equal(put(0, 5000, { by: ONE }), 5000);
    assert.equal(put(5000, 5000, { by: OTHER }), 2500);
  });

  it('grows to a large cluster within a few syncs without a configured address', () => {
    const neighbours = Array.from({ length: 12 }, (_, i) => named(800_000 + i));
    for (const peer of neighbours) records.put(record(800_000 + neighbours.indexOf(peer)), {});
    let exchanges = 0;
    for (; records.size < 5000; exchanges++) put(0, 5000, { by: neighbours[exchanges % 12] });
    assert.ok(exchanges <= 36, `${exchanges} exchanges`);
  });

  it('counts a member for no source once this node has met it', () => {
    put(0, 32, { by: ONE });
    assert.equal(put(100, 1, { by: ONE }), 0);
    for (let i = 0; i < 10; i++) records.met(named(i));
    assert.equal(put(200, 20, { by: ONE }), 10);
  });

  it('drops the latest unmet member of the busiest source if the table is full', () => {
    put(0, 200, {});
    records.sources.trust(ONE);
    put(1000, MAX_MEMBERS, { by: ONE });
    assert.equal(records.size, MAX_MEMBERS);
    assert.equal(put(20_000, 10, { by: ONE }), 0, 'it has brought most already');
    assert.equal(put(30_000, 10, { by: OTHER }), 10, 'a newcomer');
    assert.equal(put(40_000, 10, {}), 10, 'a newcomer that this node has met');
    assert.equal(records.size, MAX_MEMBERS);
    for (let i = 0; i < 200; i++) assert.ok(isKnown(i), 'a member that this node has met is gone');
    for (let i = 30_000; i < 30_010; i++) assert.ok(isKnown(i));
  });

  it('drops no member that was met, but one that is leaving', () => {
    put(0, MAX_MEMBERS, {});
    assert.equal(put(20_000, 1, {}), 0);
    records.put(record(5, own(5), { sequence: clock.now() + 1, leaving: true }), {});
    assert.equal(put(20_000, 1, {}), 1);
    assert.ok(!isKnown(5));
  });

  it('takes a stale record of an unknown member only from that member', () => {
    const old = record(0, own(0), { sequence: clock.now() - HOUR - 1 });
    assert.equal(records.put(old, { by: ONE }), false);
    assert.equal(records.put(old, { by: strangerAt('10.0.0.9'), isFirstHand: true }), true);
    const newer = record(0, own(0), { sequence: clock.now() - HOUR });
    assert.equal(records.put(newer, { by: ONE }), true, 'a member that is known may have any clock');
    assert.equal(records.put(record(1, own(1), { sequence: clock.now() - 50 * MINUTE }), { by: ONE }), true);
  });

  it('does not take the record of a member that has gone again', () => {
    const departed = record(0);
    records.put(departed, { by: ONE });
    clock.advance(EXPIRY);
    records.expire(named(700_000));
    assert.ok(!isKnown(0));
    clock.advance(HOUR);
    assert.equal(records.put(departed, { by: OTHER }), false);
  });

  it('counts no record that was replaced or deleted', () => {
    put(0, 40, { by: ONE });
    for (let i = 0; i < 40; i++) records.put(record(i, own(i + 1000), { sequence: clock.now() + 1 }), {});
    for (let i = 0; i < 40; i++) records.delete(named(i));
    assert.equal(records.sources.busiest, undefined);
    assert.equal(put(0, 1000, { by: ONE }), 32);
  });
});

describe('a flood of made-up members', () => {
  it('is refused before a signature is checked', () => {
    const table = new MemberTable({ self: Identity.generate().peer, clock: new ManualClock() });
    const identity = Identity.generate();
    const made = signMember(identity, {
      ...table.self,
      peer: identity.peer,
      sequence: Date.now(),
      controlAddresses: ['/ip4/10.9.9.9/tcp/1'],
    });
    const forged = { ...made, signature: NEVER_SIGNED };
    assert.equal(table.apply(forged, { by: ONE }), 'forged');
    for (let i = 0; i < MAX_PER_ADDRESS; i++) {
      const other = Identity.generate();
      table.apply(signMember(other, { ...made.member, peer: other.peer }), { by: ONE });
    }
    assert.equal(table.apply(forged, { by: ONE }), 'refused');
  });
});
