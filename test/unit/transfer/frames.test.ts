/** Frames of the peer wire: how they are cut, and what is refused. */
import assert from 'node:assert/strict';
import { mock } from 'node:test';
import * as fc from 'fast-check';
import { MAX_MESSAGE_BYTES } from '../../../src/protocol/codec.ts';
import {
  dataHead,
  encodeFrame,
  FrameReader,
  KIND,
  MAX_DATA_BYTES,
  type FrameKind,
} from '../../../src/transfer/frames.ts';
import { isWeirError } from '../../../src/util/errors.ts';

interface Read {
  readonly kind: number;
  readonly id?: number;
  body: Buffer;
}

/** A reader, and what it read. Data of one request that come one after the other are joined. */
function reader(): { readonly frames: Read[]; readonly reader: FrameReader } {
  const frames: Read[] = [];
  return {
    frames,
    reader: new FrameReader({
      frame: (kind, body) => void frames.push({ kind, body: Buffer.from(body) }),
      data: (id, bytes) => {
        const last = frames.at(-1);
        if (last?.kind === KIND.data && last.id === id) last.body = Buffer.concat([last.body, bytes]);
        else frames.push({ kind: KIND.data, id, body: Buffer.from(bytes) });
      },
    }),
  };
}

function head(kind: number, length: number): Buffer {
  const bytes = Buffer.from([kind, 0, 0, 0]);
  bytes.writeUIntBE(length, 1, 3);
  return bytes;
}

function data(id: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([dataHead(id, bytes.length), bytes]);
}

const STREAM: Buffer = Buffer.concat([
  encodeFrame(KIND.hello, Buffer.from('hello')),
  encodeFrame(KIND.ping),
  data(7, Buffer.from('some bytes')),
  encodeFrame(KIND.message, Buffer.alloc(300, 1)),
  head(200, 5),
  Buffer.from('later'),
  head(201, 0),
  data(2 ** 32 - 1, Buffer.from('x')),
  encodeFrame(KIND.pong),
]);
const FRAMES: readonly Read[] = [
  { kind: KIND.hello, body: Buffer.from('hello') },
  { kind: KIND.ping, body: Buffer.alloc(0) },
  { kind: KIND.data, id: 7, body: Buffer.from('some bytes') },
  { kind: KIND.message, body: Buffer.alloc(300, 1) },
  { kind: 200, body: Buffer.from('later') },
  { kind: 201, body: Buffer.alloc(0) },
  { kind: KIND.data, id: 2 ** 32 - 1, body: Buffer.from('x') },
  { kind: KIND.pong, body: Buffer.alloc(0) },
];

/** A kind of a later version. */
const UNKNOWN = 99;

/** Bytes after the head that each kind may have, and no more. */
const BOUNDS: readonly (readonly [kind: number, most: number])[] = [
  [KIND.hello, 256],
  [KIND.message, MAX_MESSAGE_BYTES],
  [KIND.request, 20 * 1024],
  [KIND.cancel, 16],
  [KIND.acknowledged, 16],
  [KIND.answer, 512],
  [KIND.data, 4 + MAX_DATA_BYTES],
  [KIND.ping, 0],
  [KIND.pong, 0],
  [KIND.question, 24 * 1024],
  [KIND.reply, 2 * 1024],
  [KIND.order, 40 * 1024],
  [KIND.progress, 24 * 1024],
  [UNKNOWN, 64 * 1024],
  [255, 64 * 1024],
];

describe('frames of the peer wire', () => {
  it('are the same if they are split at any byte', () => {
    for (let at = 0; at <= STREAM.length; at++) {
      const { frames, reader: read } = reader();
      read.push(STREAM.subarray(0, at));
      read.push(STREAM.subarray(at));
      assert.deepEqual(frames, FRAMES, `split at ${at}`);
    }
  });

  it('are the same if they come byte by byte', () => {
    const { frames, reader: read } = reader();
    for (const byte of STREAM) read.push(Buffer.from([byte]));
    assert.deepEqual(frames, FRAMES);
  });

  it('are read as they were written, however they are cut', () => {
    const kinds = fc.constantFrom<FrameKind>(KIND.message, KIND.request);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(kinds, fc.uint8Array({ maxLength: 400, size: 'max' })), { maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
        (written, cuts) => {
          const bytes = Buffer.concat(written.map(([kind, body]) => encodeFrame(kind, body)));
          const { frames, reader: read } = reader();
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const length = cuts[i % cuts.length] ?? 1;
            read.push(bytes.subarray(at, at + length));
            at += length;
          }
          assert.deepEqual(
            frames.map(({ kind, body }) => [kind, body]),
            written.map(([kind, body]) => [kind, Buffer.from(body)]),
          );
        },
      ),
    );
  });

  it('of chunks are handed on as they come, without a copy', () => {
    const parts: Buffer[] = [];
    const read = new FrameReader({
      frame: () => assert.fail(),
      data: (_id, bytes) => void parts.push(bytes),
    });
    const whole = data(1, Buffer.alloc(MAX_DATA_BYTES, 9));
    const [first, second] = [whole.subarray(0, 100_000), whole.subarray(100_000)];
    read.push(first);
    assert.equal(parts[0]?.length, 100_000 - 8);
    read.push(second);
    assert.ok(parts[0]?.buffer === whole.buffer && parts[1]?.buffer === whole.buffer);
    assert.equal(parts[1].length, whole.length - 100_000);
  });

  it('that are as long as their kind may be are read, and longer ones are refused at their head', () => {
    for (const [kind, most] of BOUNDS) {
      const { frames, reader: read } = reader();
      read.push(Buffer.concat([head(kind, most), Buffer.alloc(most, 1)]));
      assert.equal(frames.length, 1, `kind ${kind} of ${most} bytes`);
      const refused = reader().reader;
      refused.push(head(kind, most + 1).subarray(0, 3));
      assert.throws(
        () => refused.push(head(kind, most + 1).subarray(3)),
        (error) => isWeirError(error, 'peer_protocol'),
        `kind ${kind} of ${most + 1} bytes`,
      );
    }
  });

  it('that are refused take no memory', () => {
    const spy = mock.method(Buffer, 'allocUnsafeSlow');
    try {
      assert.throws(() => reader().reader.push(Buffer.concat([head(UNKNOWN, 0xffffff), Buffer.alloc(10)])));
      assert.equal(spy.mock.callCount(), 0);
      reader().reader.push(Buffer.concat([head(UNKNOWN, 1000), Buffer.alloc(10)]));
      assert.equal(spy.mock.callCount(), 1); // else this test would see nothing
    } finally {
      spy.mock.restore();
    }
  });

  it('with a mark of another length are refused', () => {
    for (const kind of [KIND.mark, KIND.returned]) {
      for (const length of [0, 3]) assert.throws(() => reader().reader.push(head(kind, length)));
    }
  });

  it('of data without data are refused', () => {
    for (let length = 0; length <= 4; length++) {
      assert.throws(
        () => reader().reader.push(Buffer.concat([head(KIND.data, length), Buffer.alloc(length)])),
        (error) => isWeirError(error, 'peer_protocol'),
      );
    }
  });

  it('are not read any more after stop(), not even those that came together', () => {
    const kinds: number[] = [];
    const read: FrameReader = new FrameReader({
      frame: (kind) => {
        kinds.push(kind);
        if (kind === KIND.ping) read.stop();
      },
      data: () => assert.fail(),
    });
    read.push(STREAM);
    read.push(STREAM);
    assert.deepEqual(kinds, [KIND.hello, KIND.ping]);
  });

  it('that are half read are forgotten by stop()', () => {
    const { frames, reader: read } = reader();
    const frame = encodeFrame(KIND.message, Buffer.alloc(100));
    read.push(Buffer.from(frame.subarray(0, 50)));
    read.stop();
    read.push(Buffer.from(frame.subarray(50)));
    assert.deepEqual(frames, []);
  });

  it('hand on what a listener throws', () => {
    const read = new FrameReader({
      frame: () => {
        throw new RangeError('no');
      },
      data: () => undefined,
    });
    assert.throws(() => read.push(STREAM), RangeError);
  });
});
