/** The serving side against malformed requests, slow readers, and its own failures. */
import assert from 'node:assert/strict';
import type { ServedChunk } from '../../../src/transfer/chunk-exchange.ts';
import { encodeFrame, KIND } from '../../../src/transfer/frames.ts';
import { encodeRequest } from '../../../src/transfer/wire-codec.ts';
import { Progress } from '../../../src/util/progress.ts';
import { eventually } from '../../support/eventually.ts';
import { fileOf } from '../../support/file-content.ts';
import {
  acknowledgedFrame,
  answerFrame,
  cancelFrame,
  dataFrame,
  frameOf,
  makeNode,
  RawConnection,
} from '../../support/raw-peer.ts';
import {
  ask,
  askChunk,
  askFails,
  begin,
  makeBytes,
  messageOf,
  requestFor,
  Scene,
  serveChunk,
} from './peer-scene.ts';

const ANY_BYTES = Buffer.alloc(8 << 20);

const request = (id: number, start = 0, end = 100): Uint8Array =>
  encodeFrame(KIND.request, encodeRequest(id, requestFor(start, end)));

const chunkOf = (start: number, end: number, size: number): ServedChunk => ({
  kind: 'chunk',
  size,
  start,
  end,
  attestation: undefined,
  body: ANY_BYTES.subarray(0, size),
  close: () => undefined,
});

/** What a member sends that breaks the protocol. Bounds of each field: test/unit/transfer/wire-codec.test.ts. */
const NONSENSE: readonly (readonly [what: string, bytes: Uint8Array])[] = [
  ['text of another protocol', Buffer.from('GET / HTTP/1.1\r\nHost: weir\r\n\r\n')],
  ['a request that is none', frameOf(KIND.request, 'x')],
  ['a request without a blob', frameOf(KIND.request, '')],
  ['a request that is cut short', frameOf(KIND.request, Buffer.from(request(0)).subarray(4, -3))],
  ['a request of more than 8 MiB', request(0, 0, (8 << 20) + 1)],
  ['a request beyond any blob', request(0, 2 ** 40, 2 ** 40 + 1)],
  ['a request frame that is too long', frameOf(KIND.request, '', 20 * 1024 + 1)],
  ['a message that is none', frameOf(KIND.message, 'x')],
  ['a message that is too long', frameOf(KIND.message, '', 24 * 1024 + 1)],
  ['a cancel that is none', frameOf(KIND.cancel, Buffer.from([0xff]))],
  ['a cancel that is too long', frameOf(KIND.cancel, '', 17)],
  ['an acknowledgement of no request', acknowledgedFrame(0)],
  ['an answer to no request', answerFrame(0, { kind: 'absent' })],
  ['data of no request', dataFrame(0, Buffer.from('x'))],
  ['data without data', frameOf(KIND.data, Buffer.alloc(4))],
  ['a data frame that is too long', frameOf(KIND.data, '', 4 + 256 * 1024 + 1)],
  ['a ping with a body', frameOf(KIND.ping, 'x')],
  ['an unknown frame that is too long', frameOf(99, '', 64 * 1024 + 1)],
];

describe('the serving side of the peer wire', () => {
  for (const [what, bytes] of NONSENSE) {
    it(`cuts off ${what}, without asking the source`, async () => {
      let asked = 0;
      await using scene = await Scene.start({
        serve: async () => {
          asked++;
          return { kind: 'absent' };
        },
      });
      const { asking, serving } = scene;
      const raw = await RawConnection.open(scene.address, { node: asking.node });
      raw.send(bytes);
      await raw.closed;
      assert.equal(raw.frames.length, 1, 'more than its hello came');
      await eventually(() => assert.equal(serving.broken.length, 1));
      assert.deepEqual([serving.broken[0]?.[0], asked, serving.wire.connections], [asking.peer, 0, 0]);
      assert.deepEqual(serving.gone, []);
    });
  }

  it('passes over frames of a later version, and over a cancel of no request', async () => {
    await using scene = await Scene.start();
    const { asking, serving } = scene;
    const raw = await RawConnection.open(scene.address, { node: asking.node });
    raw.send(frameOf(99, Buffer.alloc(64 * 1024)), frameOf(255, ''), cancelFrame(77), encodeFrame(KIND.pong));
    raw.send(frameOf(KIND.message, Buffer.from([0xfa, 0x07, 0x01, 0x00]))); // a message of an unknown kind
    raw.send(encodeFrame(KIND.ping));
    await raw.next(KIND.pong);
    raw.send(request(0));
    assert.equal((await raw.next(KIND.data)).body.length, 104);
    assert.deepEqual([serving.broken, serving.messages], [[], []]);
    raw.socket.destroy();
  });

  it('reads frames that are split anywhere', async () => {
    await using scene = await Scene.start();
    const raw = await RawConnection.open(scene.address, { node: scene.asking.node });
    raw.socket.setNoDelay(true);
    for (const byte of request(0)) {
      raw.send(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    assert.equal((await raw.next(KIND.data)).body.length, 104);
    raw.socket.destroy();
  });

  it('does what came whole if the rest is cut short', async () => {
    await using scene = await Scene.start();
    const { asking, serving } = scene;
    const raw = await RawConnection.open(scene.address, { node: asking.node });
    raw.send(request(0, 0, 1), request(1).subarray(0, 20));
    await raw.next(KIND.data);
    raw.socket.end();
    await raw.closed;
    await eventually(() => assert.equal(serving.wire.connections, 0));
    assert.deepEqual([serving.reports.length, serving.broken], [1, []]);
  });

  it('sends nothing of a chunk that is cancelled before it is found', async () => {
    const gate = Promise.withResolvers<void>();
    const closed: boolean[] = [];
    const { identity } = makeNode();
    const cancelled = Promise.withResolvers<void>();
    await using scene = await Scene.start({
      serve: async (_from, asked, _acknowledge, signal) => {
        signal.addEventListener('abort', () => cancelled.resolve());
        if (asked.range?.start === 0) await gate.promise;
        return serveChunk(makeBytes(), asked, identity, closed);
      },
    });
    const raw = await RawConnection.open(scene.address, { node: scene.asking.node });
    raw.send(request(0), cancelFrame(0));
    await cancelled.promise;
    gate.resolve();
    await eventually(() => assert.deepEqual(closed, [false]));
    raw.send(request(1, 1, 5));
    await raw.next(KIND.data);
    assert.deepEqual([raw.count(KIND.answer), raw.count(KIND.data)], [1, 1]);
    raw.socket.destroy();
  });

  it('cuts off a reader that takes no bytes', async () => {
    const closed: boolean[] = [];
    const { identity } = makeNode();
    await using scene = await Scene.start({
      readerTimeout: 100,
      serve: async (_from, asked) => {
        const chunk = serveChunk(makeBytes(), asked, identity, closed);
        // More than all buffers on the way can hold.
        return { ...chunk, size: 8 << 20, body: fileOf(ANY_BYTES) };
      },
    });
    const { serving } = scene;
    const raw = await RawConnection.open(scene.address, { node: scene.asking.node });
    raw.socket.pause();
    raw.send(request(0, 0, 8 << 20), request(1, 0, 8 << 20));
    await eventually(() => assert.equal(serving.reports.length, 2));
    assert.deepEqual(
      serving.reports.map(({ error }) => error?.code),
      ['aborted', 'aborted'],
    );
    assert.deepEqual(closed, [false, false]);
    raw.socket.destroy();
  });

  it('answers that it failed if reading fails, also in mid-chunk, and goes on', async () => {
    const bytes = makeBytes();
    const { identity } = makeNode();
    for (const failsAt of [0, 262_144]) {
      const closed: boolean[] = [];
      let corrupt = 0;
      await using scene = await Scene.start({
        serve: async (_from, asked) => {
          const chunk = serveChunk(bytes, asked, identity, closed);
          // The file ends there.
          return { ...chunk, body: fileOf(bytes.subarray(0, failsAt)), corrupt: async () => void corrupt++ };
        },
      });
      const { asking, serving } = scene;
      const asked = begin(asking, serving, requestFor(0, 1_000_000));
      assert.equal((await asked.ended).error?.code, 'peer_cut');
      const begun = failsAt === 0 ? [] : ['progressed'];
      assert.deepEqual(asked.events, ['sent', 'acknowledged', ...begun, 'peer_cut']);
      await eventually(() => assert.equal(serving.reports[0]?.error?.code, 'store_corrupt'));
      assert.deepEqual([closed, corrupt], [[false], 1]);
      assert.equal((await ask(asking, serving, requestFor(0, failsAt + 1))).error?.code, 'peer_cut');
      assert.deepEqual([asking.broken, asking.reached.length], [[], 1]);
    }
  });

  it('does not send bytes that were not requested', async () => {
    const wrong = [chunkOf(1, 100, 1000), chunkOf(0, 99, 1000), chunkOf(0, 101, 1000), chunkOf(0, 100, 99)];
    const left = [...wrong];
    await using scene = await Scene.start({ serve: async () => left.shift() ?? chunkOf(0, 1, 1) });
    const { asking, serving } = scene;
    for (const _ of wrong) await askFails('peer_cut', asking, serving, requestFor(0, 100));
    // An empty blob is no manifest, and one of 5 MiB neither.
    const whole = [chunkOf(0, 99, 100), chunkOf(1, 100, 100), chunkOf(0, 5 << 20, 5 << 20), chunkOf(0, 0, 0)];
    left.push(...whole);
    for (const _ of whole) await askFails('peer_cut', asking, serving, requestFor());
    assert.ok(serving.reports.every(({ bytes }) => bytes === 0));
    await askChunk(asking, serving, requestFor());
  });

  it('answers that it failed if the source throws, and goes on', async () => {
    let calls = 0;
    await using scene = await Scene.start({
      serve: async () => {
        calls++;
        if (calls === 1) throw new Error('a bug');
        return { kind: 'absent' };
      },
    });
    const { asking, serving } = scene;
    await askFails('peer_cut', asking, serving, requestFor(0, 1));
    assert.equal((await ask(asking, serving, requestFor(0, 1))).answer?.kind, 'absent');
    assert.equal(serving.reports[0]?.error?.code, 'internal');
    assert.equal(asking.reached.length, 1);
  });

  it('is closed at once, even while it is sending', async () => {
    const closed: boolean[] = [];
    const { identity } = makeNode();
    await using scene = await Scene.start({
      rates: { maxUpload: 1 << 20 },
      serve: async (_from, asked) => serveChunk(makeBytes(), asked, identity, closed),
    });
    const { asking, serving } = scene;
    const asked = begin(asking, serving, requestFor(0, 3_000_000));
    await asked.first;
    await serving.wire[Symbol.asyncDispose]();
    assert.equal((await asked.ended).error?.code, 'peer_cut');
    await askFails('peer_unreachable', asking, serving, requestFor(0, 1));
    assert.deepEqual(closed, [false]);
  });

  it('acknowledges a chunk that waits behind another one', async () => {
    const progress = new Progress();
    progress.advance(1000); // the rest never comes
    const { identity } = makeNode();
    await using scene = await Scene.start({
      serve: async (_from, asked) => {
        const chunk = serveChunk(makeBytes(), asked, identity);
        return { ...chunk, body: { ...fileOf(makeBytes()), progress: progress.memory } };
      },
    });
    const { asking, serving } = scene;
    const one = begin(asking, serving, requestFor(0, 100_000));
    await one.first;
    const two = begin(asking, serving, requestFor(1, 500));
    await two.acknowledged;
    assert.deepEqual(two.events, ['sent', 'acknowledged']);
    one.cancel();
    assert.equal((await two.ended).answer?.kind, 'chunk');
    assert.deepEqual(two.events, ['sent', 'acknowledged', 'progressed', 'chunk']);
  });

  it('sends messages between the frames of a chunk, which hold it up for a frame at most', async () => {
    await using scene = await Scene.start({ rates: { maxUpload: 1 << 20 } });
    const { asking, serving } = scene;
    const asked = begin(asking, serving, requestFor(0, 3_000_000));
    await asked.first;
    serving.wire.send(asking.peer, messageOf(5));
    await eventually(() => assert.deepEqual(asking.messages, [messageOf(5)]));
    assert.ok(asked.bytes.count < 1_500_000, `${asked.bytes.count} bytes came first`);
    asked.cancel();
  });
});

const RATE = 8 << 20;

async function seconds({ asking, serving }: Scene): Promise<number> {
  const began = performance.now();
  await Promise.all([0, 1, 2].map((i) => askChunk(asking, serving, requestFor(i, i + (1 << 20)))));
  return (performance.now() - began) / 1000;
}

describe('limits of rates', () => {
  it('hold for all uploads together', async () => {
    await using scene = await Scene.start({ rates: { maxUpload: RATE } });
    const taken = await seconds(scene);
    assert.ok(taken > 0.25 && taken < 1.5, `${taken} s for 3 MiB at 8 MiB/s`);
  });

  it('hold for all downloads together, with TLS and without', async () => {
    for (const isSecure of [true, false]) {
      await using scene = await Scene.start({ isSecure, asker: { rates: { maxDownload: RATE } } });
      const taken = await seconds(scene);
      assert.ok(taken > 0.25 && taken < 1.5, `${taken} s for 3 MiB at 8 MiB/s`);
    }
  });

  it('hold for a document, which is stopped if it is cancelled', async () => {
    const blob = makeBytes(4 << 20);
    const closed: boolean[] = [];
    const { identity } = makeNode();
    await using scene = await Scene.start({
      rates: { maxUpload: 1 << 20 },
      serve: async (_from, asked) => serveChunk(blob, asked, identity, closed),
    });
    const { asking, serving } = scene;
    const asked = begin(asking, serving, requestFor());
    await asked.first;
    asked.cancel();
    await eventually(() => assert.deepEqual(closed, [false]), 2000);
    assert.equal((await askChunk(asking, serving, requestFor(0, 10))).size, blob.length);
  });

  it('share the rate among members that ask at the same time', async () => {
    const length = 3_000_000;
    await using scene = await Scene.start({ rates: { maxUpload: RATE } });
    await using second = await Scene.start();
    const { serving } = scene;
    serving.knows(second.asking);
    second.asking.knows(serving);
    const asked = [scene.asking, second.asking].map((from) => begin(from, serving, requestFor(0, length)));
    await Promise.race(asked.map(({ ended }) => ended));
    const received = asked.map(({ bytes }) => bytes.count);
    assert.ok(Math.min(...received) > 0.6 * length, received.join());
    for (const { cancel } of asked) cancel();
  });
});
