import assert from 'node:assert/strict';
import { KIB, MIB } from '../../../src/util/clock.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { FrameStream } from '../../../src/network/frame-stream.ts';
import { encodeFrame } from '../../../src/protocol/frames.ts';
import { FakeStream } from '../../support/fake-stream.ts';
import { heldBytes } from '../../support/memory.ts';

/** Bytes that a stream may bring before its reader must say that there is room. */
const WINDOW = 256 * KIB;

describe('FrameStream', () => {
  it('reads a whole window of empty frames that came at once', async () => {
    const fake = new FakeStream();
    const frames = new FrameStream(fake.stream);
    fake.receive(new Uint8Array(WINDOW));
    fake.end();
    let count = 0;
    while ((await frames.next(undefined)) !== undefined) count++;
    assert.equal(count, WINDOW);
  });

  it('keeps unread data as bytes, not as frames', () => {
    const fake = new FakeStream();
    const frames = new FrameStream(fake.stream);
    const before = heldBytes();
    fake.receive(new Uint8Array(100 * KIB));
    const held = heldBytes() - before;
    assert.ok(held < 1 * MIB, `${held} bytes are held of ${100 * KIB} that came`);
    assert.equal(fake.readStatus, 'paused');
    frames.abort(new Error('over'));
  });

  it('resumes the stream once its frames are read, and no sooner', async () => {
    const fake = new FakeStream();
    const frames = new FrameStream(fake.stream);
    const sent = Array.from({ length: 50 }, (_, i) => Uint8Array.of(i));
    fake.receive(Buffer.concat(sent.map(encodeFrame)));
    for (const [index, frame] of sent.entries()) {
      if (index < sent.length - 16) assert.equal(fake.readStatus, 'paused');
      assert.deepEqual(await frames.next(undefined), frame);
    }
    assert.equal(fake.readStatus, 'readable');
  });

  it('gives the frames before the end of a stream that ends within a frame, then fails', async () => {
    const fake = new FakeStream();
    const frames = new FrameStream(fake.stream);
    fake.receive(Uint8Array.of(1, 7, 5, 1, 2));
    fake.end();
    assert.deepEqual(await frames.next(undefined), Uint8Array.of(7));
    await assert.rejects(frames.next(undefined), (error) => isWeirError(error, 'peer_protocol'));
  });

  it('gives the frames before one that is too long, then fails', async () => {
    const fake = new FakeStream();
    const frames = new FrameStream(fake.stream);
    const many = Buffer.concat(Array.from({ length: 40 }, () => encodeFrame(Uint8Array.of(1))));
    fake.receive(Buffer.concat([many, Uint8Array.of(0xff, 0xff, 0x7f)]));
    const read: Uint8Array[] = [];
    const reading = async (): Promise<void> => {
      for (;;) read.push((await frames.next(undefined)) ?? assert.fail('the stream has not ended'));
    };
    await assert.rejects(reading(), (error) => isWeirError(error, 'peer_protocol'));
    assert.ok(read.length > 0 && read.length <= 40);
  });
});
