import assert from 'node:assert/strict';
import { create, toBinary } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { isWeirError } from '../../../src/util/errors.ts';
import { Identity } from '../../../src/protocol/identity.ts';
import {
  decodeSyncHead,
  decodeGossip,
  decodeHello,
  decodePage,
  encodeSyncHead,
  encodeGossip,
  encodeHello,
  encodePages,
} from '../../../src/protocol/sync-messages.ts';
import { MAX_FRAME_BYTES } from '../../../src/protocol/frames.ts';
import {
  isControlAddress,
  isGenuineMember,
  RECORD_LIMITS,
  signMember,
} from '../../../src/protocol/signed-record.ts';
import { HelloSchema, MemberRecordSchema } from '../../../src/protocol/weir_pb.ts';
import { keyOf } from '../../../src/protocol/fields.ts';
import { members } from './arbitraries.ts';

const identity = Identity.generate();
const member = {
  peer: identity.peer,
  sequence: 1_700_000_000_000,
  name: 'node-1',
  zone: 'eu-1a',
  controlAddresses: ['/ip4/10.0.0.1/tcp/4001', '/ip6/::1/tcp/4001'],
  dataAddresses: [{ host: '10.0.0.1', port: 4003 }],
  fingerprint: new Uint8Array(32).fill(7),
  version: '0.1.0',
  leaving: false,
};
const isRefusal = (error: unknown): boolean => isWeirError(error, 'peer_protocol');

describe('member records', () => {
  it('are decoded as encoded, and genuine', () => {
    fc.assert(
      fc.property(members, (said) => {
        const own = { ...said, peer: identity.peer };
        const read = decodeHello(encodeHello(signMember(identity, own)));
        assert.deepEqual(read.member, own);
        assert.ok(isGenuineMember(read));
        assert.ok(read.encoded.length <= RECORD_LIMITS.bytes);
      }),
    );
  });

  it('of another member, or changed on the way, are not genuine', () => {
    const signed = signMember(identity, member);
    assert.equal(
      isGenuineMember({ ...signed, member: { ...member, peer: Identity.generate().peer } }),
      false,
    );
    const encoded = new Uint8Array(signed.encoded);
    encoded[encoded.length - 3] = (encoded.at(-3) ?? 0) ^ 1;
    assert.equal(isGenuineMember({ ...signed, encoded }), false);
    assert.equal(isGenuineMember({ ...signed, signature: new Uint8Array(64) }), false);
  });

  it('keep the fields of a newer version when passed on', () => {
    const signed = signMember(identity, member);
    const newer = Buffer.concat([signed.encoded, Buffer.from([0xfa, 0x07, 0x01, 0x2a])]);
    const resigned = identity.sign(Buffer.concat([Buffer.from('weir/member/1\0'), newer]));
    const relayed = decodeHello(
      encodeHello(decodeHello(encodeHello({ ...signed, encoded: newer, signature: resigned }))),
    );
    assert.deepEqual(new Uint8Array(relayed.encoded), new Uint8Array(newer));
    assert.ok(isGenuineMember(relayed));
    assert.deepEqual(relayed.member, member);
  });

  it('that break a bound are refused', () => {
    const record = { peer: keyOf(identity.peer), sequence: 1n };
    const wrong = [
      { ...record, peer: new Uint8Array(31) },
      { ...record, sequence: 2n ** 60n },
      { ...record, name: 'x'.repeat(254) },
      { ...record, name: '\u001b[2J' },
      { ...record, zone: 'x'.repeat(64) },
      { ...record, version: 'x'.repeat(65) },
      { ...record, fingerprint: new Uint8Array(31) },
      { ...record, controlAddresses: Array.from({ length: 9 }, () => '/ip4/10.0.0.1/tcp/1') },
      { ...record, controlAddresses: ['/ip4/10.0.0.1/udp/1'] },
      { ...record, dataAddresses: [{ host: 'example.org', port: 1 }] },
      { ...record, dataAddresses: [{ host: '10.0.0.1', port: 0 }] },
      { ...record, dataAddresses: [{ host: '10.0.0.1', port: 65_536 }] },
    ];
    for (const fields of wrong) {
      const encoded = toBinary(MemberRecordSchema, create(MemberRecordSchema, fields));
      const hello = create(HelloSchema, { record: { record: encoded, signature: new Uint8Array(64) } });
      assert.throws(
        () => decodeHello(toBinary(HelloSchema, hello)),
        isRefusal,
        JSON.stringify(Object.keys(fields)),
      );
    }
    assert.throws(() => decodeHello(new Uint8Array()), isRefusal);
  });

  it('have addresses that can be dialled', () => {
    for (const good of [
      '/ip4/1.2.3.4/tcp/1',
      '/ip6/fd00::1/tcp/65535',
      '/dns4/a.b/tcp/2',
      '/dns/node/tcp/2',
    ]) {
      assert.ok(isControlAddress(good), good);
    }
    for (const bad of [
      '',
      '/ip4/1.2.3/tcp/1',
      '/ip6/1.2.3.4/tcp/1',
      '/ip4/1.2.3.4/tcp/0',
      '/ip4/1.2.3.4/tcp/65536',
      '/ip4/1.2.3.4/tcp/1/p2p/x',
      '/unix/x',
      '/dns4/-/tcp/1',
    ]) {
      assert.equal(isControlAddress(bad), false, bad);
    }
  });
});

describe('member sync messages', () => {
  const signed = signMember(identity, member);

  it('have heads that are decoded as encoded', () => {
    const question = { self: signed, digests: new Uint8Array(512).fill(3), differing: new Uint8Array() };
    assert.deepEqual(decodeSyncHead(encodeSyncHead(question), 'question'), question);
    const answer = { self: signed, digests: new Uint8Array(), differing: new Uint8Array(8).fill(3) };
    assert.deepEqual(decodeSyncHead(encodeSyncHead(answer), 'answer'), answer);
    assert.throws(() => decodeSyncHead(encodeSyncHead(answer), 'question'), isRefusal);
  });

  it('have pages of at most 64 KiB, with the last one marked', () => {
    for (const count of [0, 1, 511, 512, 513, 3000]) {
      const pages = [
        ...encodePages(Array.from({ length: count }, (_, i) => ({ record: signed, age: i * 1000 }))),
      ];
      assert.ok(pages.every((page) => page.length <= MAX_FRAME_BYTES));
      const read = pages.map(decodePage);
      const records = read.flatMap((page) => page.records);
      assert.equal(records.length, count);
      assert.ok(records.every(({ age }, i) => age === i * 1000));
      assert.deepEqual(
        read.map(({ last }) => last),
        pages.map((_, i) => i === pages.length - 1),
      );
    }
  });

  it('ignore an unknown kind of gossip', () => {
    assert.deepEqual(decodeGossip(encodeGossip(signed)), signed);
    assert.equal(decodeGossip(Uint8Array.from([0xfa, 0x07, 0x01, 0x2a])), undefined);
  });

  it('throw only peer_protocol for any bytes', () => {
    const valid = [
      encodeHello(signed),
      encodeGossip(signed),
      ...encodePages([
        { record: signed, age: 0 },
        { record: signed, age: 5000 },
      ]),
    ];
    const decoders = [
      decodeHello,
      decodeGossip,
      decodePage,
      (bytes: Uint8Array) => decodeSyncHead(bytes, 'question'),
    ];
    const damaged = fc
      .tuple(fc.constantFrom(...valid), fc.nat(), fc.nat(), fc.integer({ min: 0, max: 255 }))
      .map(([bytes, cut, at, value]) => {
        const copy = bytes.slice(0, cut % (bytes.length + 1));
        if (copy.length > 0) copy[at % copy.length] = value;
        return copy;
      });
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array({ maxLength: 300 }), damaged),
        fc.constantFrom(...decoders),
        (bytes, decode) => {
          try {
            decode(bytes);
          } catch (error) {
            assert.ok(isRefusal(error), String(error));
          }
        },
      ),
      { numRuns: 3000 },
    );
  });
});
