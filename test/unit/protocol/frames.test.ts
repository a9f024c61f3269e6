import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { isWeirError } from '../../../src/util/errors.ts';
import { encodeFrame, FrameDecoder, MAX_FRAME_BYTES } from '../../../src/protocol/frames.ts';

function push(decoder: FrameDecoder, ...chunks: readonly Uint8Array[]): Uint8Array[] {
  return chunks.flatMap((chunk) => Array.from(decoder.push(chunk)));
}

describe('frames', () => {
  it('are decoded as encoded, however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 400, size: 'max' }), { maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
        (frames, cuts) => {
          const bytes = Buffer.concat(frames.map(encodeFrame));
          const decoder = new FrameDecoder();
          const read: Uint8Array[] = [];
          for (let at = 0, i = 0; at < bytes.length; i += 1) {
            const length = cuts[i % cuts.length] ?? 1;
            read.push(...push(decoder, bytes.subarray(at, at + length)));
            at += length;
          }
          assert.deepEqual(read, frames);
          assert.ok(decoder.isBetweenFrames);
        },
      ),
    );
  });

  it('of 64 KiB pass; longer ones are refused as soon as their length is known', () => {
    const whole = new Uint8Array(MAX_FRAME_BYTES).fill(1);
    assert.equal(push(new FrameDecoder(), encodeFrame(whole))[0]?.length, MAX_FRAME_BYTES);
    assert.throws(() => encodeFrame(new Uint8Array(MAX_FRAME_BYTES + 1)), RangeError);
    for (const prefix of [
      [0x81, 0x80, 0x04],
      [0xff, 0xff, 0xff],
      [0xff, 0xff, 0x7f],
    ]) {
      assert.throws(
        () => push(new FrameDecoder(), Uint8Array.from(prefix)),
        (error) => isWeirError(error, 'peer_protocol'),
      );
    }
  });

  it('may be bounded more narrowly', () => {
    assert.throws(
      () => push(new FrameDecoder(10), encodeFrame(new Uint8Array(11))),
      (error) => isWeirError(error, 'peer_protocol'),
    );
  });

  it('that are cut off are noticed', () => {
    const decoder = new FrameDecoder();
    push(decoder, Uint8Array.from([5, 1, 2]));
    assert.equal(decoder.isBetweenFrames, false);
  });

  it('of any bytes throw only peer_protocol', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 100 })), (chunks) => {
        try {
          push(new FrameDecoder(), ...chunks);
        } catch (error) {
          assert.ok(isWeirError(error, 'peer_protocol'), String(error));
        }
      }),
    );
  });
});
