import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { peerIdFromString } from '@libp2p/peer-id';
import type { KadDHT } from '@libp2p/kad-dht';
import { DhtRouting } from '../../../src/network/dht.ts';
import { NearestMembers } from '../../../src/network/nearest-members.ts';
import { Identity } from '../../../src/protocol/identity.ts';
import type { PeerId } from '../../../src/protocol/peer-id.ts';

const members = Array.from({ length: 40 }, () => ({ peer: Identity.generate().peer }));
const hash = (bytes: Uint8Array): bigint => BigInt(`0x${createHash('sha256').update(bytes).digest('hex')}`);
const distance = (peer: PeerId, key: Uint8Array): bigint =>
  hash(peerIdFromString(peer).toMultihash().bytes) ^ hash(key);

describe('NearestMembers', () => {
  it('gives the members at the least distance, the nearest first', () => {
    const nearest = new NearestMembers();
    for (const text of ['a', 'b', 'c']) {
      const key = Buffer.from(text);
      const all = members.map(({ peer }) => peer);
      const expected = all.toSorted((a, b) => (distance(a, key) < distance(b, key) ? -1 : 1)).slice(0, 10);
      assert.deepEqual(nearest.of(key, members, 10), expected);
    }
  });

  it('gives all members if there are few', () => {
    const few = members.slice(0, 3);
    const found = new NearestMembers().of(Buffer.from('a'), few, 10);
    assert.deepEqual(new Set(found), new Set(few.map(({ peer }) => peer)));
    assert.deepEqual(new NearestMembers().of(Buffer.from('a'), [], 10), []);
  });

  it('gives others after members have gone', () => {
    const nearest = new NearestMembers();
    const key = Buffer.from('a');
    const [first, ...rest] = nearest.of(key, members, 10);
    const left = members.filter(({ peer }) => peer !== first);
    assert.deepEqual(nearest.of(key, left, 9), rest);
    const few = members.filter(({ peer }) => rest.slice(0, 2).includes(peer));
    assert.deepEqual(nearest.of(key, few, 9), rest.slice(0, 2));
    assert.equal(nearest.of(key, members, 1)[0], first);
  });
});

describe('DhtRouting', () => {
  it('refuses a kad-dht that has changed', () => {
    const dht = { network: {}, providers: {}, contentRouting: { peerRouting: {} } } as unknown as KadDHT;
    const [self = assert.fail()] = members;
    const dialer = { connect: () => assert.fail(), isConnected: () => false };
    const table = { live: () => [] };
    assert.throws(() => new DhtRouting({ dht, self: self.peer, table, dialer }), /kad-dht has changed/);
  });
});
