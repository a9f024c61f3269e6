import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { ByteQueue } from '../../../src/util/byte-queue.ts';

/** Lengths around 4 KiB and 16 KiB matter: shorter buffers than 4 KiB are copied into pages of 16 KiB. */
const lengths = fc.oneof(fc.nat(20), fc.integer({ min: 4090, max: 4100 }), fc.nat(20_000));
const steps = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: lengths.map((length) => ({ kind: 'push' as const, length })) },
    lengths.map((length) => ({ kind: 'read' as const, length })),
    lengths.map((length) => ({ kind: 'drop' as const, length })),
    fc.constant({ kind: 'shift' as const, length: 0 }),
    fc.constant({ kind: 'take' as const, length: 0 }),
  ),
  { maxLength: 60 },
);

describe('ByteQueue', () => {
  it('gives bytes back in order, however they are put in and taken out', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const queue = new ByteQueue();
        let [pushed, taken] = [0, 0];
        const check = (bytes: Uint8Array): void => {
          for (const byte of bytes) assert.equal(byte, taken++ & 0xff);
        };
        for (const { kind, length } of all) {
          if (kind === 'push') queue.push(Uint8Array.from({ length }, () => pushed++ & 0xff));
          if (kind === 'drop') taken += queue.drop(length);
          if (kind === 'shift') check(queue.shift() ?? new Uint8Array());
          if (kind === 'take') check(Buffer.concat(queue.takeAll()));
          if (kind === 'read') {
            const target = new Uint8Array(length);
            const waiting = queue.bytes;
            const read = queue.read(target);
            assert.equal(read, Math.min(length, waiting));
            check(target.subarray(0, read));
          }
          assert.equal(queue.bytes, pushed - taken);
        }
        check(Buffer.concat(queue.takeAll()));
        assert.equal(taken, pushed);
      }),
    );
  });

  it('keeps large buffers as they are, and joins small ones', () => {
    const queue = new ByteQueue();
    const large = new Uint8Array(5000);
    queue.push(large);
    for (let i = 0; i < 100_000; i++) queue.push(Uint8Array.of(i));
    queue.push(large);
    const buffers = queue.takeAll();
    assert.equal(buffers[0], large);
    assert.equal(buffers.at(-1), large);
    assert.ok(buffers.length < 12, `${buffers.length} buffers`);
  });
});
