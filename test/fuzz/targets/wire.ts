/** Data that members send: messages, records, questions, frames. */
import assert from 'node:assert/strict';
import { createHmac, createPrivateKey } from 'node:crypto';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { Identity } from '../../../src/protocol/identity.ts';
import { placeOf, placesOf } from '../../../src/util/ip-address.ts';
import { parsePeerId, publicKeyOf, tryParsePeerId } from '../../../src/protocol/peer-id.ts';
import { MESSAGE_LIMITS } from '../../../src/protocol/messages.ts';
import { isGenuine } from '../../../src/protocol/attestation.ts';
import { decodeSwarmMessage, encodeSwarmMessage } from '../../../src/protocol/codec.ts';
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
import { SignedPreheatOrderSchema } from '../../../src/protocol/preheat_pb.ts';
import { encodeFrame, FrameDecoder, MAX_FRAME_BYTES } from '../../../src/protocol/frames.ts';
import { digestOfMultihash, multihashOf } from '../../../src/protocol/multihash.ts';
import {
  isControlAddress,
  isGenuineMember,
  RECORD_LIMITS,
  signMember,
  type SignedMember,
} from '../../../src/protocol/signed-record.ts';
import {
  decodeReferenceAnswer,
  decodeReferenceQuestion,
  encodeReferenceAnswer,
  encodeReferenceQuestion,
  isTellable,
  isTellableAnswer,
} from '../../../src/protocol/reference-messages.ts';
import {
  decodePreheatOrder,
  decodePreheatProgress,
  encodePreheatOrder,
  encodePreheatProgress,
  PREHEAT_LIMITS,
} from '../../../src/protocol/preheat-messages.ts';
import { members, messages } from '../../unit/protocol/arbitraries.ts';
import { pure, unlessRefused } from '../harness/target.ts';
import { DIGEST } from './samples.ts';

const CODES = ['peer_protocol'] as const;
const identity = new Identity(fixedKey());
const signedMembers = members.map((said) => signMember(identity, { ...said, peer: identity.peer }));

export const swarmMessage = pure({
  name: 'swarm-message',
  seeds: [''],
  structured: messages.map(encodeSwarmMessage),
  words: ['ghcr.io', 'localhost:5000'],
  run: (input) => {
    const read = unlessRefused(CODES, () => decodeSwarmMessage(input));
    if (read === undefined) return;
    if (read.kind === 'attested')
      for (const each of read.attestations.slice(0, 2)) isGenuine(each, read.swarm, 1000);
    // Encoding sorts the indices and drops duplicates.
    if (read.kind === 'have') assert.ok(read.indices.length <= MESSAGE_LIMITS.indices);
    else assert.deepEqual(decodeSwarmMessage(encodeSwarmMessage(read)), read);
  },
});

/** A decoded record keeps every bound, and is genuine only with its signature. */
function checkMember(read: SignedMember): void {
  const { member, encoded } = read;
  assert.ok(encoded.length <= RECORD_LIMITS.bytes);
  assert.match(member.name + member.zone + member.version, /^[ -~]*$/);
  assert.ok(member.controlAddresses.every(isControlAddress));
  placesOf(member.controlAddresses);
  for (const { host } of member.dataAddresses) placeOf(host);
  isGenuineMember(read);
  assert.equal(isGenuineMember({ ...read, signature: read.signature.map((byte) => byte ^ 1) }), false);
  assert.deepEqual(decodeHello(encodeHello(read)), read);
}

export const memberRecord = pure({
  name: 'member-record',
  share: 20,
  seeds: [''],
  structured: signedMembers.map(encodeHello),
  words: ['/ip4/10.0.0.1/tcp/4772', '/dns4/a.b/tcp/1', '/ip6/::1/tcp/1', '127.0.0.1', 'fe80::1%eth0'],
  run: (input) => {
    const read = unlessRefused(CODES, () => decodeHello(input));
    if (read !== undefined) checkMember(read);
  },
});

const heads = fc
  .tuple(signedMembers, fc.boolean(), fc.uint8Array({ minLength: 512, maxLength: 512, size: 'max' }))
  .map(([self, isQuestion, bytes]) =>
    encodeSyncHead({
      self,
      digests: isQuestion ? bytes : new Uint8Array(),
      differing: isQuestion ? new Uint8Array() : bytes.slice(0, 8),
    }),
  );

export const syncHead = pure({
  name: 'sync-head',
  share: 20,
  seeds: [''],
  structured: heads,
  run: (input) => {
    for (const kind of ['question', 'answer'] as const) {
      const read = unlessRefused(CODES, () => decodeSyncHead(input, kind));
      if (read === undefined) continue;
      assert.equal(read.digests.length + read.differing.length, kind === 'question' ? 512 : 8);
      assert.deepEqual(decodeSyncHead(encodeSyncHead(read), kind), read);
    }
  },
});

export const recordPage = pure({
  name: 'record-page',
  share: 20,
  seeds: [''],
  structured: fc
    .array(fc.record({ record: signedMembers, age: fc.nat() }), { maxLength: 6 })
    .map((records) => [...encodePages(records)][0] ?? new Uint8Array()),
  run: (input) => {
    const read = unlessRefused(CODES, () => decodePage(input));
    assert.ok((read?.records.length ?? 0) <= 512);
    for (const { age } of read?.records ?? []) assert.ok(Number.isSafeInteger(age) && age >= 0, String(age));
    const [page, ...more] = read === undefined ? [] : [...encodePages(read.records)];
    // Records from an unusual encoding of 64 KiB may need more than one page.
    if (page !== undefined && more.length === 0) assert.deepEqual(decodePage(page).records, read?.records);
  },
});

export const gossip = pure({
  name: 'gossip',
  share: 20,
  seeds: [''],
  structured: signedMembers.map(encodeGossip),
  run: (input) => {
    const read = unlessRefused(CODES, () => decodeGossip(input));
    if (read !== undefined) checkMember(read);
  },
});

const repository = { registry: 'ghcr.io', name: 'org/app' } as never;
const questions = [
  encodeReferenceQuestion({
    repository,
    reference: { kind: 'digest', digest: DIGEST },
    accept: 'application/json, */*',
    token: 'abc.def==',
    knownOnly: true,
  }),
  encodeReferenceQuestion({
    repository,
    reference: { kind: 'tag', tag: 'v1' as never },
    accept: undefined,
    token: undefined,
    knownOnly: false,
  }),
];

export const referenceQuestion = pure({
  name: 'reference-question',
  seeds: questions,
  words: ['ghcr.io', 'latest', DIGEST, '\r\n'],
  run: (input) => {
    const read = unlessRefused(CODES, () => decodeReferenceQuestion(input));
    if (read === undefined) return;
    assert.ok(isTellable(read));
    assert.match(`${read.accept ?? ''}${read.token ?? ''}`, /^[ -~]*$/);
    assert.deepEqual(decodeReferenceQuestion(encodeReferenceQuestion(read)), read);
  },
});

export const referenceAnswer = pure({
  name: 'reference-answer',
  seeds: [
    encodeReferenceAnswer({
      status: 'found',
      digest: DIGEST,
      mediaType: 'a/b',
      size: 5,
      granted: 1000,
      stale: true,
    }),
    encodeReferenceAnswer({ status: 'refused' }),
  ],
  words: [DIGEST, 'application/vnd.oci.image.index.v1+json'],
  run: (input) => {
    const read = unlessRefused(CODES, () => decodeReferenceAnswer(input));
    if (read === undefined) return;
    assert.ok(isTellableAnswer(read));
    assert.deepEqual(decodeReferenceAnswer(encodeReferenceAnswer(read)), read);
  },
});

const ends = { from: identity.peer, to: identity.peer };
const token = Buffer.from('the token of the tests');
const order = {
  id: '0'.repeat(32),
  images: [{ repository, reference: { kind: 'tag', tag: 'v1' as never } }],
  platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
  starts: 1,
  expires: 2,
  keep: 3000,
} as const;

const signedOrder = encodePreheatOrder(order, ends, token);

export const preheatOrder = pure({
  name: 'preheat-order',
  seeds: [signedOrder, fromBinary(SignedPreheatOrderSchema, signedOrder).order],
  words: ['ghcr.io', 'linux/amd64', DIGEST],
  run: (input) => {
    // Nobody who lacks the token gets past the MAC, so a changed order is signed anew.
    for (const bytes of [input, signedAnew(input)]) {
      const read = unlessRefused(CODES, () => decodePreheatOrder(bytes, ends, token));
      if (read === undefined) continue;
      assert.ok(read.images.length <= PREHEAT_LIMITS.images);
      assert.ok(read.expires - read.starts <= PREHEAT_LIMITS.lifetime);
      assert.deepEqual(decodePreheatOrder(encodePreheatOrder(read, ends, token), ends, token), read);
    }
  },
});

function signedAnew(input: Uint8Array): Uint8Array {
  const mac = createHmac('sha256', token).update('weir preheat order 1\n');
  mac.update(publicKeyOf(ends.from)).update(publicKeyOf(ends.to)).update(input);
  return toBinary(
    SignedPreheatOrderSchema,
    create(SignedPreheatOrderSchema, { order: input, mac: mac.digest() }),
  );
}

const image = { state: 'failed', reason: 'why', presentBytes: 1, size: 2 } as const;

export const preheatProgress = pure({
  name: 'preheat-progress',
  seeds: [
    encodePreheatProgress({ refused: undefined, images: [image, image] }),
    encodePreheatProgress({ refused: 'preheat is off' }),
  ],
  run: (input) => {
    const read = unlessRefused(CODES, () => decodePreheatProgress(input));
    if (read === undefined) return;
    assert.match(JSON.stringify(read), /^[ -~]*$/);
    assert.deepEqual(decodePreheatProgress(encodePreheatProgress(read)), read);
  },
});

const someFrames = fc
  .array(fc.uint8Array({ maxLength: 300, size: 'max' }), { maxLength: 8 })
  .map((list) => Buffer.concat(list.map(encodeFrame)));

export const frames = pure({
  name: 'frames',
  seeds: [
    encodeFrame(new Uint8Array(MAX_FRAME_BYTES - 10)),
    Uint8Array.from([0xff, 0xff, 0x03]),
    Uint8Array.from([0]),
  ],
  structured: someFrames,
  run: (input, chance) => {
    const whole = framesOf([input]);
    const cut = framesOf([...chance.parts(input)]);
    assert.deepEqual(cut, whole);
    for (const frame of whole.frames) assert.ok(frame.length <= MAX_FRAME_BYTES);
  },
});

/** The frames before a refused one, and the state of the stream then. */
function framesOf(parts: readonly Buffer[]): { frames: Uint8Array[]; refused: boolean; isBetween: boolean } {
  const decoder = new FrameDecoder();
  const found: Uint8Array[] = [];
  const isWhole = unlessRefused(CODES, () => {
    for (const part of parts) for (const frame of decoder.push(part)) found.push(frame);
    return true;
  });
  const refused = isWhole === undefined;
  return { frames: found, refused, isBetween: !refused && decoder.isBetweenFrames };
}

export const peerId = pure({
  name: 'peer-id',
  seeds: [identity.peer, '12D3KooW', 'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N'],
  words: ['12D3KooW', 'z', '1'],
  run: (input) => {
    const text = input.toString('latin1');
    const read = unlessRefused(['bad_request'], () => parsePeerId(text));
    assert.equal(read, tryParsePeerId(text));
    if (read !== undefined) assert.equal(publicKeyOf(read).length, 32);
    placeOf(text);
    isControlAddress(text);
    const digest = digestOfMultihash(input);
    if (digest !== undefined) assert.deepEqual(Buffer.from(multihashOf(digest)), input);
  },
});

/** A fixed key, so that corpora contain valid signatures. */
function fixedKey(): ConstructorParameters<typeof Identity>[0] {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32, 7)]);
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
}
