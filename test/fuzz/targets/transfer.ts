/** The peer wire: its frames, what they carry, and the answer to a request as it arrives. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { protocolError } from '../../../src/protocol/fields.ts';
import { peerIdOf } from '../../../src/protocol/peer-id.ts';
import { ChunkPlaces } from '../../../src/bytes/chunk-places.ts';
import { ChunkReceiver, type ReceivedAnswer } from '../../../src/bytes/chunk-receiver.ts';
import { dataHead, encodeFrame, FrameReader, KIND, type FrameKind } from '../../../src/transfer/frames.ts';
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
} from '../../../src/transfer/wire-codec.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { answerHeads, chunkFetches } from '../../unit/transfer/arbitraries.ts';
import { pure, unlessRefused } from '../harness/target.ts';

const CODES = ['peer_protocol'] as const;
const PEER = peerIdOf(new Uint8Array(32).fill(5));
const ATTESTATION = {
  index: 3,
  hash: new Uint8Array(32).fill(1),
  by: PEER,
  signature: new Uint8Array(64).fill(2),
  verified: true,
};
const ids = fc.integer({ min: 0, max: 2 ** 32 - 1 });

function data(id: number, bytes: string): Buffer {
  return Buffer.concat([dataHead(id, bytes.length), Buffer.from(bytes)]);
}

function answer(id: number, head: Parameters<typeof encodeAnswer>[1]): Uint8Array {
  return encodeFrame(KIND.answer, encodeAnswer(id, head));
}

export const wireHello = pure({
  name: 'wire-hello',
  share: 10,
  seeds: [encodeHello({ peer: PEER, minor: 0 }), encodeConcerning(2 ** 32 - 1)],
  run: (input) => {
    const hello = unlessRefused(CODES, () => decodeHello(input));
    if (hello !== undefined) assert.deepEqual(decodeHello(encodeHello(hello)), hello);
    const id = unlessRefused(CODES, () => decodeConcerning(input));
    if (id !== undefined) assert.equal(decodeConcerning(encodeConcerning(id)), id);
  },
});

export const wireRequest = pure({
  name: 'wire-request',
  seeds: [''],
  structured: fc.tuple(ids, chunkFetches).map(([id, request]) => encodeRequest(id, request)),
  words: ['ghcr.io', '[::1]:5000', 'org/app', 'abc.def=='],
  run: (input) => {
    const read = unlessRefused(CODES, () => decodeRequest(input));
    if (read === undefined) return;
    const { range, owner } = read.request;
    if (range !== undefined) {
      assert.ok(range.start >= 0 && range.start < range.end && range.end <= LIMITS.size);
      assert.ok(range.end - range.start <= LIMITS.chunk);
    }
    assert.match(owner?.token ?? '', /^[!-~]{0,16384}$/);
    const encoded = encodeRequest(read.id, read.request);
    assert.ok(encoded.length <= 20 * 1024);
    assert.deepEqual(decodeRequest(encoded), read);
  },
});

export const wireAnswer = pure({
  name: 'wire-answer',
  seeds: [''],
  structured: fc.tuple(ids, answerHeads).map(([id, head]) => encodeAnswer(id, head)),
  run: (input) => {
    const read = unlessRefused(CODES, () => decodeAnswer(input));
    if (read !== undefined) assert.deepEqual(decodeAnswer(encodeAnswer(read.id, read.answer)), read);
  },
});

const someFrames = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 12 }), fc.uint8Array({ maxLength: 300, size: 'max' })), {
    maxLength: 8,
  })
  .map((list) => Buffer.concat(list.map(([kind, body]) => encodeFrame(kind as FrameKind, body))));

export const peerFrames = pure({
  name: 'peer-frames',
  seeds: [
    Buffer.concat([
      encodeFrame(KIND.ping),
      data(7, 'some bytes'),
      encodeFrame(KIND.message, Buffer.alloc(300)),
    ]),
    Uint8Array.from([KIND.data, 0xff, 0xff, 0xff]),
    Uint8Array.from([KIND.data, 0, 0, 4, 0, 0, 0, 1]),
    Uint8Array.from([99, 1, 0, 0]),
  ],
  structured: someFrames,
  run: (input, chance) => {
    const whole = framesOf([input]);
    assert.deepEqual(framesOf([...chance.parts(input)]), whole);
    assert.ok(whole.bytes <= input.length);
  },
});

/** The frames before a refused one. Data of one request that come one after the other are joined. */
function framesOf(parts: readonly Buffer[]): {
  readonly frames: readonly (readonly [kind: number, id: number, body: Buffer])[];
  readonly bytes: number;
  readonly isRefused: boolean;
} {
  const frames: [kind: number, id: number, body: Buffer][] = [];
  let bytes = 0;
  const reader = new FrameReader({
    frame: (kind, body) => {
      bytes += body.length;
      frames.push([kind, 0, Buffer.from(body)]);
    },
    data: (id, body) => {
      bytes += body.length;
      const last = frames.at(-1);
      if (last?.[0] === KIND.data && last[1] === id) last[2] = Buffer.concat([last[2], body]);
      else frames.push([KIND.data, id, Buffer.from(body)]);
    },
  });
  const isWhole = unlessRefused(CODES, () => {
    for (const part of parts) reader.push(part);
    return true;
  });
  return { frames, bytes, isRefused: isWhole === undefined };
}

export const chunkAnswer = pure({
  name: 'chunk-answer',
  seeds: [
    Buffer.concat([answer(0, { kind: 'chunk', size: 100, attestation: ATTESTATION }), data(0, '0123456789')]),
    Buffer.concat([answer(0, { kind: 'chunk', size: 3, attestation: undefined }), data(0, 'abc')]),
    Buffer.concat([
      encodeFrame(KIND.acknowledged, encodeConcerning(0)),
      answer(0, { kind: 'busy', load: 5 }),
    ]),
    answer(0, { kind: 'redirect', holders: [PEER, PEER] }),
    answer(0, { kind: 'retry', after: 250 }),
    Buffer.concat([
      answer(0, { kind: 'chunk', size: 100, attestation: undefined }),
      data(0, '01234'),
      answer(0, { kind: 'failed' }),
    ]),
  ],
  structured: fc
    .tuple(answerHeads, fc.string({ minLength: 1, maxLength: 20, unit: 'binary-ascii' }))
    .map(([head, bytes]) => Buffer.concat([answer(0, head), data(0, bytes)])),
  run: (input, chance) => {
    for (const length of [10, undefined]) {
      const whole = received(length, [input]);
      assert.deepEqual(received(length, [...chance.parts(input)]), whole);
    }
  },
});

/** The result of an answer that arrives in these parts. @param length undefined: a whole blob is asked for */
function received(length: number | undefined, parts: readonly Buffer[]): unknown {
  const places = new ChunkPlaces();
  const answers: ReceivedAnswer[] = [];
  const nothing = (): void => undefined;
  const events = {
    acknowledged: nothing,
    progressed: nothing,
    answered: (given: ReceivedAnswer) => void answers.push(given),
  };
  const receiver = new ChunkReceiver(length, places, events);
  let isWhole = false;
  const reader = new FrameReader({
    frame: (kind, body) => {
      if (isWhole) return;
      if (kind === KIND.acknowledged) receiver.acknowledged();
      if (kind === KIND.answer) isWhole = receiver.answer(decodeAnswer(body).answer);
    },
    data: (_id, bytes) => {
      // A connection passes over what comes behind an answer, but a part of its last frame must not change the result here.
      if (isWhole) throw protocolError('more bytes than requested');
      isWhole = receiver.data(bytes);
    },
  });
  try {
    for (const part of parts) reader.push(part);
  } catch (error) {
    if (!isWeirError(error, ...CODES)) throw error;
    return error.message;
  } finally {
    receiver.cancel();
  }
  const [given, ...more] = answers;
  assert.deepEqual(more, []);
  if (given?.kind !== 'chunk') return given ?? 'nothing yet';
  assert.ok(given.bytes.length <= LIMITS.chunk && given.size <= LIMITS.size);
  const { kind, bytes, size, attestation } = given;
  if (bytes instanceof Uint8Array) return { kind, bytes: Buffer.from(bytes), size, attestation };
  const memory = Buffer.from(places.at(bytes.place));
  assert.equal(memory.length, bytes.length);
  assert.ok(createHash('sha256').update(memory).digest().equals(bytes.hash));
  return { kind, bytes: memory, size, attestation };
}
