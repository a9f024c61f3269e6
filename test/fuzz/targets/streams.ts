/** Frames of a libp2p stream as they arrive, with resets and ends in between. */
import assert from 'node:assert/strict';
import { FrameStream } from '../../../src/network/frame-stream.ts';
import { encodeFrame, MAX_FRAME_BYTES } from '../../../src/protocol/frames.ts';
import { FakeStream } from '../../support/fake-stream.ts';
import { pure, settledUnlessRefused } from '../harness/target.ts';

export const frameStream = pure({
  name: 'frame-stream',
  share: 15,
  seeds: [
    Buffer.concat([
      encodeFrame(new Uint8Array(300)),
      encodeFrame(new Uint8Array(0)),
      encodeFrame(Buffer.from('hello')),
    ]),
    Buffer.alloc(200), // empty frames
    encodeFrame(new Uint8Array(MAX_FRAME_BYTES - 10)),
  ],
  run: async (input, chance) => {
    const fake = new FakeStream();
    const frames = new FrameStream(fake.stream);
    let read = 0;
    const reading = settledUnlessRefused(['peer_protocol', 'peer_cut'], async () => {
      for (;;) {
        const frame = await frames.next(undefined);
        if (frame === undefined) return;
        read += frame.length;
      }
    });
    for (const part of chance.parts(input)) {
      fake.receive(part);
      if (chance.oneIn(8)) await Promise.resolve();
    }
    if (chance.oneIn(2)) fake.end();
    else fake.reset();
    await reading;
    frames.abort(new Error('over'));
    assert.ok(read <= input.length);
  },
});
