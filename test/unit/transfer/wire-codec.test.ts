/** What the frames of the peer wire carry. */
import assert from 'node:assert/strict';
import { create, toBinary, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { isWeirError } from '../../../src/util/errors.ts';
import { parseDigest } from '../../../src/oci/digest.ts';
import { parseRegistryHost, parseRepository, type RepositoryName } from '../../../src/oci/repository.ts';
import { multihashOf } from '../../../src/protocol/multihash.ts';
import { MESSAGE_LIMITS } from '../../../src/protocol/messages.ts';
import { AnswerSchema, HelloSchema, RequestSchema } from '../../../src/protocol/wire_pb.ts';
import type { ChunkFetch } from '../../../src/transfer/chunk-exchange.ts';
import { FrameReader, encodeFrame, KIND, type FrameKind } from '../../../src/transfer/frames.ts';
import { LIMITS } from '../../../src/transfer/limits.ts';
import {
  decodeAnswer,
  decodeConcerning,
  decodeHello,
  decodeRequest,
  encodeAnswer,
  encodeConcerning,
  encodeHello,
  encodeRequest,
  type AnswerHead,
} from '../../../src/transfer/wire-codec.ts';
import { bytes, peers } from '../protocol/arbitraries.ts';
import { answerHeads, chunkFetches } from './arbitraries.ts';

const DIGEST = parseDigest(`sha256:${'ab'.repeat(32)}`);
const REGISTRY = parseRegistryHost('ghcr.io');
const NAME: RepositoryName = parseRepository(REGISTRY, 'team/app').name;
const ids = fc.integer({ min: 0, max: 2 ** 32 - 1 });

function refuses(decode: (bytes: Uint8Array) => unknown, body: Uint8Array, what: unknown): void {
  assert.throws(
    () => decode(body),
    (error) => isWeirError(error, 'peer_protocol'),
    JSON.stringify(what, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
  );
}

function encoded<Desc extends DescMessage>(schema: Desc, body: MessageInitShape<Desc>): Uint8Array {
  return toBinary(schema, create(schema, body));
}

/** The frame must fit: its reader refuses longer ones. */
function assertFits(kind: FrameKind, body: Uint8Array): void {
  let count = 0;
  new FrameReader({ frame: () => void count++, data: () => undefined }).push(
    Buffer.from(encodeFrame(kind, body)),
  );
  assert.equal(count, 1);
}

describe('the codec of the peer wire', () => {
  it('decodes hellos and numbers as it encoded them', () => {
    fc.assert(
      fc.property(peers, ids, (peer, minor) => {
        const body = encodeHello({ peer, minor });
        assertFits(KIND.hello, body);
        assert.deepEqual(decodeHello(body), { peer, minor });
        assert.equal(decodeConcerning(encodeConcerning(minor)), minor);
        assertFits(KIND.cancel, encodeConcerning(minor));
      }),
    );
  });

  it('decodes requests as it encoded them', () => {
    fc.assert(
      fc.property(ids, chunkFetches, (id, request) => {
        const body = encodeRequest(id, request);
        assertFits(KIND.request, body);
        assert.deepEqual(decodeRequest(body), { id, request });
      }),
    );
  });

  it('decodes answers as it encoded them', () => {
    fc.assert(
      fc.property(ids, answerHeads, (id, answer) => {
        const body = encodeAnswer(id, answer);
        assertFits(KIND.answer, body);
        assert.deepEqual(decodeAnswer(body), { id, answer });
      }),
    );
  });

  it('writes the same bytes as ever (golden)', () => {
    const swarm = { registry: REGISTRY, digest: DIGEST };
    const request = { swarm, range: { start: 1, end: 300 }, owner: undefined };
    const hex = (body: Uint8Array): string => Buffer.from(body).toString('hex');
    assert.equal(
      hex(encodeRequest(5, request)),
      `08051207676863722e696f1a221220${'ab'.repeat(32)}200128ac02`,
    );
    assert.equal(hex(encodeAnswer(5, { kind: 'retry', after: 120 })), '08052a020878');
    assert.equal(hex(encodeAnswer(0, { kind: 'absent' })), '1a00');
    assert.equal(hex(encodeConcerning(300)), '08ac02');
  });

  it('sends no token that is none', () => {
    const swarm = { registry: REGISTRY, digest: DIGEST };
    for (const token of ['a b', 'a\r\nb', '', 'é', 'a'.repeat(16_385), `a${'='.repeat(16_384)}`]) {
      const request: ChunkFetch = { swarm, range: undefined, owner: { repository: NAME, token } };
      const { owner } = decodeRequest(encodeRequest(0, request)).request;
      assert.deepEqual(owner, { repository: NAME, size: undefined, token: undefined });
    }
  });

  it('refuses hellos without a peer', () => {
    for (const length of [0, 31, 33]) {
      refuses(decodeHello, encoded(HelloSchema, { peer: new Uint8Array(length) }), length);
    }
  });

  const good = { registry: REGISTRY, digest: multihashOf(DIGEST), start: 0n, end: 100n };
  const NO_REQUESTS: readonly MessageInitShape<typeof RequestSchema>[] = [
    { registry: '' },
    { registry: 'a b' },
    { digest: new Uint8Array() },
    { digest: new Uint8Array(34) },
    { digest: multihashOf(DIGEST).subarray(0, 33) },
    { start: 100n },
    { start: 101n },
    { start: 5n, end: 0n },
    { end: BigInt(LIMITS.chunk) + 1n },
    { start: 2n ** 63n, end: 2n ** 63n + 1n },
    { start: BigInt(LIMITS.size), end: BigInt(LIMITS.size) + 1n },
    { owner: { repository: 'A B' } },
    { owner: { repository: '' } },
    { owner: { repository: '../etc' } },
    { owner: { repository: NAME, size: 99n } },
    { owner: { repository: NAME, size: BigInt(LIMITS.size) + 1n } },
    { owner: { repository: NAME, token: 'a b' } },
    { owner: { repository: NAME, token: 'a\r\nb' } },
    { owner: { repository: NAME, token: 'a'.repeat(16_385) } },
    { owner: { repository: NAME, token: `a${'='.repeat(16_384)}` } },
  ];

  it('refuses requests beyond the bounds', () => {
    decodeRequest(encoded(RequestSchema, good));
    for (const wrong of NO_REQUESTS)
      refuses(decodeRequest, encoded(RequestSchema, { ...good, ...wrong }), wrong);
  });

  const attestation = {
    index: 0,
    hash: new Uint8Array(32),
    by: new Uint8Array(32),
    signature: new Uint8Array(64),
  };
  const chunk = (more: object): NonNullable<MessageInitShape<typeof AnswerSchema>['body']> => ({
    case: 'chunk',
    value: { size: 1n, attestation: { ...attestation, ...more } },
  });
  const NO_ANSWERS: readonly NonNullable<MessageInitShape<typeof AnswerSchema>['body']>[] = [
    { case: 'chunk', value: { size: BigInt(LIMITS.size) + 1n } },
    chunk({ index: MESSAGE_LIMITS.chunks }),
    chunk({ hash: new Uint8Array(31) }),
    chunk({ by: new Uint8Array(33) }),
    chunk({ signature: new Uint8Array(63) }),
    { case: 'busy', value: { load: LIMITS.load + 1 } },
    { case: 'retry', value: { after: LIMITS.retry + 1 } },
    { case: 'redirect', value: { holders: Array.from({ length: 4 }, () => new Uint8Array(32)) } },
    { case: 'redirect', value: { holders: [new Uint8Array(31)] } },
  ];

  it('refuses answers beyond the bounds', () => {
    decodeAnswer(encoded(AnswerSchema, { id: 1, body: chunk({}) }));
    for (const body of NO_ANSWERS) refuses(decodeAnswer, encoded(AnswerSchema, { id: 1, body }), body);
  });

  it('bounds the numbers in its answers', () => {
    const holders = Array.from({ length: 9 }, (_, i) => fc.sample(peers, { seed: i, numRuns: 1 })).flat();
    const given: readonly (readonly [AnswerHead, AnswerHead])[] = [
      [
        { kind: 'busy', load: 1e12 },
        { kind: 'busy', load: LIMITS.load },
      ],
      [
        { kind: 'retry', after: 1e9 },
        { kind: 'retry', after: LIMITS.retry },
      ],
      [
        { kind: 'retry', after: 0.5 },
        { kind: 'retry', after: 1 },
      ],
      [
        { kind: 'redirect', holders },
        { kind: 'redirect', holders: holders.slice(0, LIMITS.holders) },
      ],
    ];
    for (const [answer, expected] of given) {
      assert.deepEqual(decodeAnswer(encodeAnswer(1, answer)), { id: 1, answer: expected });
    }
  });

  it('reads an answer of a later version as a failure, and passes over unknown fields', () => {
    const later = Buffer.from([0x08, 0x05, 0xfa, 0x07, 0x01, 0x00]); // field 127, one byte
    assert.deepEqual(decodeAnswer(later), { id: 5, answer: { kind: 'failed' } });
    const known = Buffer.concat([encodeAnswer(5, { kind: 'absent' }), later.subarray(2)]);
    assert.deepEqual(decodeAnswer(known), { id: 5, answer: { kind: 'absent' } });
  });

  it('keeps no view of the frame', () => {
    const frame = new Uint8Array(encoded(AnswerSchema, { id: 1, body: chunk({}) }));
    const { answer } = decodeAnswer(frame);
    assert.ok(answer.kind === 'chunk' && answer.attestation !== undefined);
    assert.notEqual(answer.attestation.hash.buffer, frame.buffer);
    assert.notEqual(answer.attestation.signature.buffer, frame.buffer);
  });

  it('throws only peer_protocol, for any bytes and for changed ones', () => {
    const decoders = [decodeHello, decodeConcerning, decodeRequest, decodeAnswer];
    const tries = (body: Uint8Array): void => {
      for (const decode of decoders) {
        try {
          decode(body);
        } catch (error) {
          assert.ok(isWeirError(error, 'peer_protocol'), String(error));
        }
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), tries), { numRuns: 1000 });
    const valid = fc.oneof(
      fc.tuple(ids, chunkFetches).map(([id, request]) => encodeRequest(id, request)),
      fc.tuple(ids, answerHeads).map(([id, answer]) => encodeAnswer(id, answer)),
    );
    fc.assert(
      fc.property(
        valid,
        fc.nat(),
        fc.array(fc.tuple(fc.nat(), bytes(1)), { maxLength: 4 }),
        (body, cut, changes) => {
          const damaged = body.slice(0, cut % (body.length + 1));
          for (const [at, [value = 0]] of changes)
            if (damaged.length > 0) damaged[at % damaged.length] = value;
          tries(damaged);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
