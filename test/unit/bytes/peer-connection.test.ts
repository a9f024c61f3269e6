/** One connection in its worker: time, silence, peers that read nothing, and frames that nobody takes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { BodyBuffers } from '../../../src/bytes/body-buffers.ts';
import { ChunkPlaces } from '../../../src/bytes/chunk-places.ts';
import { PeerConnection } from '../../../src/bytes/peer-connection.ts';
import { limitsOf, shareLimits } from '../../../src/bytes/peer-limits.ts';
import type { ConnectionEvent } from '../../../src/bytes/peers-messages.ts';
import { encodeSwarmMessage } from '../../../src/protocol/codec.ts';
import { encodeFrame, KIND } from '../../../src/transfer/frames.ts';
import { encodeRequest } from '../../../src/transfer/wire-codec.ts';
import { KIB, systemClock } from '../../../src/util/clock.ts';
import { eventually } from '../../support/eventually.ts';
import {
  answerFrame,
  cancelFrame,
  dataFrame,
  helloFrame,
  LOOPBACK,
  makeNode,
  RawConnection,
} from '../../support/raw-peer.ts';
import { messageOf, requestFor } from './peer-scene.ts';

const PEER = makeNode().peer;
const MESSAGE = encodeFrame(KIND.message, encodeSwarmMessage(messageOf(1)));
const READER_TIMEOUT = 10_000;

type Told = Omit<ConnectionEvent, 'connection'> & { readonly kind: string };

/** A connection, and the raw peer at its other end. */
class Pair implements AsyncDisposable {
  readonly connection: PeerConnection;
  readonly peer: RawConnection;
  readonly socket: Socket;
  readonly events: Told[];
  readonly #close: () => void;

  private constructor(fields: Pick<Pair, 'connection' | 'peer' | 'socket' | 'events'>, close: () => void) {
    this.connection = fields.connection;
    this.peer = fields.peer;
    this.socket = fields.socket;
    this.events = fields.events;
    this.#close = close;
  }

  static async open({ hasDialled = false } = {}): Promise<Pair> {
    const server = createServer().listen(0, LOOPBACK);
    await once(server, 'listening');
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const { port } = server.address() as AddressInfo;
    const far = connect({ host: LOOPBACK, port });
    const [socket] = await accepted;
    const events: Told[] = [];
    const connection = new PeerConnection({
      socket,
      hello: helloFrame(PEER),
      hasDialled,
      post: (event) => void events.push(event),
      places: new ChunkPlaces(),
      buffers: new BodyBuffers(),
      limits: limitsOf(shareLimits({}), systemClock),
      isOtherZone: false,
      readerTimeout: READER_TIMEOUT,
      clock: systemClock,
      onHello: hasDialled ? undefined : () => void events.push({ kind: 'greeted' }),
      onClosed: () => undefined,
      onProgress: () => undefined,
    });
    socket.on('data', (bytes: Buffer) => void connection.read(bytes));
    return new Pair({ connection, peer: new RawConnection(far), socket, events }, () => server.close());
  }

  /** One that is admitted. */
  static async greeted(options = { hasDialled: false }): Promise<Pair> {
    const pair = await Pair.open(options);
    pair.peer.send(helloFrame(PEER));
    await pair.told(options.hasDialled ? 'open' : 'greeted');
    if (!options.hasDialled) pair.connection.do({ connection: 1, kind: 'admit', isOtherZone: false });
    await pair.peer.next(KIND.hello);
    return pair;
  }

  async told(kind: string): Promise<Told> {
    return eventually(() => this.events.find((event) => event.kind === kind) ?? assert.fail(`not ${kind}`));
  }

  tick(count: number): void {
    for (let i = 0; i < count; i++) this.connection.tick();
  }

  /** The code of the error with which it was closed. */
  async closed(): Promise<string | undefined> {
    const event = (await this.told('closed')) as Extract<ConnectionEvent, { kind: 'closed' }>;
    return event.error.code;
  }

  get isClosed(): boolean {
    return this.socket.destroyed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    this.peer.socket.destroy();
    this.socket.destroy();
    await this.peer.closed;
  }
}

/** Something is said and answered, so that the connection is neither silent nor idle. */
async function ping({ peer }: Pair): Promise<void> {
  peer.send(encodeFrame(KIND.ping));
  await peer.next(KIND.pong);
}

describe('a connection over which nothing is said', () => {
  for (const [hasDialled, seconds] of [
    [true, 60],
    [false, 90],
  ] as const) {
    it(`is closed after ${seconds} s by the side that ${hasDialled ? 'dialled' : 'was dialled'}`, async () => {
      await using pair = await Pair.greeted({ hasDialled });
      for (let i = 0; i < seconds - 1; i++) {
        if (i % 5 === 0) await ping(pair); // the peer is there, but has nothing to say
        pair.tick(1);
      }
      assert.equal(pair.isClosed, false);
      pair.tick(1);
      assert.equal(await pair.closed(), 'aborted');
    });
  }

  it('stays if either side says something', async () => {
    await using pair = await Pair.greeted({ hasDialled: true });
    for (let i = 0; i < 10; i++) {
      for (let j = 0; j < 11; j++) {
        await ping(pair);
        pair.tick(5);
      }
      if (i % 2 === 0) pair.connection.do({ connection: 0, kind: 'write', frames: MESSAGE });
      else {
        const before = pair.events.length;
        pair.peer.send(MESSAGE);
        await eventually(() => assert.equal(pair.events.length, before + 1));
      }
    }
    assert.equal(pair.isClosed, false);
  });

  it('stays while a chunk is on its way', async () => {
    await using pair = await Pair.greeted({ hasDialled: true });
    const frame = encodeFrame(KIND.request, encodeRequest(0, requestFor(0, 10)));
    pair.connection.do({ connection: 0, kind: 'request', id: 0, frame, length: 10 });
    for (let i = 0; i < 30; i++) {
      await ping(pair);
      pair.tick(5);
    }
    assert.equal(pair.isClosed, false);
    pair.peer.send(
      answerFrame(0, { kind: 'chunk', size: 10, attestation: undefined }),
      dataFrame(0, Buffer.alloc(10)),
    );
    await pair.told('answered');
  });
});

describe('a peer that is silent', () => {
  it('is pinged after 10 s, and cut after 5 s more', async () => {
    await using pair = await Pair.greeted();
    pair.tick(9);
    assert.equal(pair.peer.count(KIND.ping), 0);
    pair.tick(1);
    await pair.peer.next(KIND.ping);
    pair.tick(4);
    assert.equal(pair.isClosed, false);
    pair.tick(1);
    assert.equal(await pair.closed(), 'peer_stalled');
    assert.equal(pair.peer.count(KIND.ping), 1);
  });

  it('but answers pings stays', async () => {
    await using pair = await Pair.greeted();
    for (let i = 0; i < 3; i++) {
      const bytes = pair.socket.bytesRead;
      pair.tick(10);
      await pair.peer.next(KIND.ping);
      pair.peer.send(encodeFrame(KIND.pong));
      await eventually(() => assert.ok(pair.socket.bytesRead > bytes));
    }
    pair.tick(9);
    assert.equal(pair.isClosed, false);
  });

  it('does not greet is cut after 15 s, whatever bytes it sends', async () => {
    for (const hasDialled of [true, false]) {
      await using pair = await Pair.open({ hasDialled });
      const hello = helloFrame(PEER);
      for (let i = 0; i < 14; i++) {
        pair.peer.send(hello.subarray(i, i + 1));
        await eventually(() => assert.equal(pair.socket.bytesRead, i + 1));
        pair.tick(1);
      }
      assert.equal(pair.isClosed, false);
      pair.tick(1);
      assert.equal(await pair.closed(), 'peer_stalled');
    }
  });
});

describe('a peer that reads nothing', () => {
  it('is cut once too many frames wait for it', async () => {
    await using pair = await Pair.greeted();
    pair.peer.socket.pause();
    const frames = Buffer.concat(Array.from({ length: 1000 }, () => MESSAGE));
    let written = 0;
    for (; !pair.isClosed && written < 100 << 20; written += frames.length) {
      pair.connection.do({ connection: 1, kind: 'write', frames });
      await new Promise(setImmediate);
    }
    assert.ok(pair.isClosed, `${written} bytes were written`);
    assert.equal(await pair.closed(), 'peer_stalled');
    // What the kernel takes, and the bound.
    assert.ok(pair.socket.bytesWritten <= written);
  });

  it('is not cut if it reads after all', async () => {
    await using pair = await Pair.greeted();
    const frames = Buffer.concat(Array.from({ length: 1000 }, () => MESSAGE));
    for (let i = 0; i < 60; i++) {
      pair.connection.do({ connection: 1, kind: 'write', frames });
      await eventually(() => assert.equal(pair.peer.count(KIND.message), (i + 1) * 1000));
    }
    assert.equal(pair.isClosed, false);
  });
});

describe('frames that the main thread does not take', () => {
  it('stop the reading at 256 KiB, until it takes some', async () => {
    await using pair = await Pair.greeted();
    const count = 20_000;
    const all = Buffer.concat(Array.from({ length: count }, () => MESSAGE));
    pair.peer.socket.write(all);
    const forwarded = (): number => pair.events.filter(({ kind }) => kind === 'frame').length;
    await eventually(() => assert.ok(pair.socket.isPaused()));
    const first = forwarded();
    // A read of 64 KiB that has begun is dealt with whole.
    assert.ok(first * MESSAGE.length > 256 * KIB && first * MESSAGE.length < 330 * KIB, `${first} frames`);
    pair.tick(14); // this node's fault, so it is not the peer that is silent
    assert.equal(pair.isClosed, false);
    for (let taken = 0; taken < count;) {
      const now = forwarded();
      if (now > taken)
        pair.connection.do({ connection: 1, kind: 'taken', bytes: (now - taken) * MESSAGE.length });
      taken = now;
      await new Promise(setImmediate);
    }
    assert.equal(pair.socket.isPaused(), false);
  });
});

describe('a connection', () => {
  it('that is retired is closed once its last chunk has come', async () => {
    await using pair = await Pair.greeted({ hasDialled: true });
    const frame = encodeFrame(KIND.request, encodeRequest(0, requestFor(0, 10)));
    for (const id of [0, 1]) pair.connection.do({ connection: 0, kind: 'request', id, frame, length: 10 });
    pair.connection.do({ connection: 0, kind: 'retire' });
    pair.peer.send(answerFrame(0, { kind: 'absent' }));
    await pair.told('answered');
    assert.equal(pair.isClosed, false);
    pair.connection.do({ connection: 0, kind: 'cancel', id: 1, frame: cancelFrame(1) });
    assert.equal(await pair.closed(), 'aborted');
  });

  it('that is cut sends and takes nothing more', async () => {
    await using pair = await Pair.greeted();
    pair.connection.do({ connection: 1, kind: 'cut' });
    pair.connection.do({ connection: 1, kind: 'write', frames: MESSAGE });
    pair.connection.read(Buffer.from(MESSAGE));
    await pair.peer.closed;
    assert.equal(await pair.closed(), 'aborted');
    assert.deepEqual(
      [pair.peer.count(KIND.message), pair.events.filter(({ kind }) => kind === 'frame').length],
      [0, 0],
    );
  });

  it('that closes tells that a chunk is not sent, also one that it was asked for too late', async () => {
    await using pair = await Pair.greeted();
    pair.connection.do({ connection: 1, kind: 'cut' });
    const head = answerFrame(3, { kind: 'chunk', size: 10, attestation: undefined });
    const part = { head, content: new Uint8Array(10), start: 0, end: 10, generation: 0, isPresent: true };
    pair.connection.do({ connection: 1, kind: 'serve', id: 3, ...part });
    const served = (await pair.told('served')) as Extract<ConnectionEvent, { kind: 'served' }>;
    assert.deepEqual([served.id, served.sent, served.error?.code], [3, 0, 'aborted']);
  });
});
