/** The memory of a chunk that is received. What makes an answer wrong: peer-lies.test.ts. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { ChunkPlaces } from '../../../src/bytes/chunk-places.ts';
import { ChunkReceiver, type ReceivedAnswer } from '../../../src/bytes/chunk-receiver.ts';
import { makeBytes } from './peer-scene.ts';

const BYTES = makeBytes();

/** Receives these bytes in parts. */
function receive(
  places: ChunkPlaces,
  bytes: Buffer,
  parts = 3,
): { readonly place: number; readonly bytes: Uint8Array } {
  const answers: ReceivedAnswer[] = [];
  let reported = 0;
  let progressed = 0;
  const receiver = new ChunkReceiver(bytes.length, places, {
    acknowledged: () => undefined,
    progressed: () => void (progressed += 1),
    answered: (answer, count) => {
      answers.push(answer);
      reported += count;
    },
  });
  assert.equal(receiver.answer({ kind: 'chunk', size: BYTES.length, attestation: undefined }), false);
  const step = Math.ceil(bytes.length / parts);
  for (let at = 0; at < bytes.length; at += step) {
    const isWhole = receiver.data(Buffer.from(bytes.subarray(at, at + step)));
    if (at === 0) {
      assert.equal(progressed, 1);
      reported += receiver.report();
      assert.equal(receiver.report(), 0);
    }
    assert.equal(isWhole, at + step >= bytes.length);
  }
  const [answer] = answers;
  assert.ok(answer?.kind === 'chunk' && 'place' in answer.bytes);
  assert.deepEqual([answers.length, reported, progressed], [1, bytes.length, 2]);
  const { place, hash } = answer.bytes;
  assert.ok(createHash('sha256').update(bytes).digest().equals(hash));
  return { place, bytes: places.at(place) };
}

describe('the memory of a chunk', () => {
  it('is used again once it was given back, and not before', () => {
    const places = new ChunkPlaces();
    const mib = BYTES.subarray(0, 1 << 20);
    const first = receive(places, mib);
    const second = receive(places, mib);
    assert.notEqual(first.bytes.buffer, second.bytes.buffer);
    places.give(first.place);
    places.give(first.place);
    const third = receive(places, BYTES.subarray(7, 700_000));
    const fourth = receive(places, BYTES.subarray(8, 800_000));
    assert.equal(third.bytes.buffer, first.bytes.buffer);
    assert.notEqual(fourth.bytes.buffer, first.bytes.buffer);
    assert.ok(BYTES.subarray(7, 700_000).equals(third.bytes));
    assert.ok(mib.equals(second.bytes));
  });

  it('is given back if the request is cancelled, or if the peer fails in mid-chunk', () => {
    for (const end of ['cancel', 'failed'] as const) {
      const places = new ChunkPlaces();
      const answers: ReceivedAnswer[] = [];
      const receiver = new ChunkReceiver(1 << 20, places, {
        acknowledged: () => undefined,
        progressed: () => undefined,
        answered: (answer) => void answers.push(answer),
      });
      receiver.answer({ kind: 'chunk', size: 1 << 20, attestation: undefined });
      receiver.data(Buffer.alloc(1000));
      assert.ok(places.at(0));
      if (end === 'cancel') receiver.cancel();
      else assert.equal(receiver.answer({ kind: 'failed' }), true);
      assert.throws(() => places.at(0));
      assert.deepEqual(answers, end === 'cancel' ? [] : [{ kind: 'failed' }]);
    }
  });

  it('keeps no reference to what the socket read', () => {
    const places = new ChunkPlaces();
    const read = Buffer.from(BYTES.subarray(0, 1000));
    const receiver = new ChunkReceiver(2000, places, {
      acknowledged: () => undefined,
      progressed: () => undefined,
      answered: () => undefined,
    });
    receiver.answer({ kind: 'chunk', size: 2000, attestation: undefined });
    receiver.data(read);
    read.fill(0);
    assert.ok(BYTES.subarray(0, 1000).equals(places.at(0).subarray(0, 1000)));
  });
});
