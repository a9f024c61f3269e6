/** Wrong answers of a member, and the outcome of the request. */
import assert from 'node:assert/strict';
import { toBinary, create } from '@bufbuild/protobuf';
import type { ErrorCode } from '../../../src/util/errors.ts';
import { attest } from '../../../src/protocol/attestation.ts';
import { AnswerSchema } from '../../../src/protocol/wire_pb.ts';
import { encodeFrame, KIND } from '../../../src/transfer/frames.ts';
import { eventually } from '../../support/eventually.ts';
import {
  acknowledgedFrame,
  answerFrame,
  dataFrame,
  frameOf,
  helloFrame,
  makeNode,
  RawPeer,
  type RawConnection,
} from '../../support/raw-peer.ts';
import { ask, begin, requestFor, takenPlaces, WireNode, type Begun } from './peer-scene.ts';

const LENGTH = 1000;
const BODY = Buffer.alloc(LENGTH, 'x');
const node = makeNode();
const { swarm } = requestFor(0, LENGTH);
const attestation = attest(node.identity, swarm, 5000, {
  index: 0,
  hash: new Uint8Array(32),
  verified: true,
});

const chunk = (size = 5000): Uint8Array => answerFrame(0, { kind: 'chunk', size, attestation });
const data = (bytes: Uint8Array = BODY, id = 0): Buffer => dataFrame(id, bytes);
const attested = (more: object): Uint8Array => {
  const { index, hash, signature, verified } = attestation;
  const value = { index, hash, by: new Uint8Array(32), signature, verified, ...more };
  const body = { case: 'chunk' as const, value: { size: 5000n, attestation: value } };
  return encodeFrame(KIND.answer, toBinary(AnswerSchema, create(AnswerSchema, { id: 0, body })));
};
const redirect = answerFrame(0, { kind: 'redirect', holders: [node.peer] });

const WRONG: readonly (readonly [what: string, frames: readonly Uint8Array[], code: ErrorCode])[] = [
  ['a blob that ends before the range', [chunk(999), data()], 'peer_protocol'],
  ['an empty blob', [chunk(0)], 'peer_protocol'],
  ['more bytes than requested', [chunk(), data(Buffer.alloc(LENGTH + 1))], 'peer_protocol'],
  [
    'more bytes than requested, in several frames',
    [chunk(), data(BODY.subarray(1)), data()],
    'peer_protocol',
  ],
  ['bytes before their answer', [data(), chunk()], 'peer_protocol'],
  ['bytes after a mere acknowledgement', [acknowledgedFrame(0), data()], 'peer_protocol'],
  ['two answers', [chunk(), chunk(), data()], 'peer_protocol'],
  ['another answer behind the first bytes', [chunk(), data(BODY.subarray(1)), redirect], 'peer_protocol'],
  ['an answer to a request that was not sent', [answerFrame(1, { kind: 'absent' })], 'peer_protocol'],
  ['data of a request that was not sent', [chunk(), data(BODY, 1)], 'peer_protocol'],
  ['an acknowledgement of a request that was not sent', [acknowledgedFrame(1)], 'peer_protocol'],
  ['an attestation with a short hash', [attested({ hash: new Uint8Array(31) }), data()], 'peer_protocol'],
  ['an attestation about a chunk that no blob has', [attested({ index: 1 << 20 }), data()], 'peer_protocol'],
  ['an attestation of nobody', [attested({ by: new Uint8Array() }), data()], 'peer_protocol'],
  ['a redirect, though no owner was asked', [redirect], 'peer_protocol'],
  ['an answer that is none', [frameOf(KIND.answer, Buffer.from([0xff]))], 'peer_protocol'],
  ['an answer that is too long', [frameOf(KIND.answer, '', 513)], 'peer_protocol'],
  ['a data frame that is too long', [chunk(), frameOf(KIND.data, '', 5 + 256 * 1024)], 'peer_protocol'],
  ['a data frame without data', [chunk(), frameOf(KIND.data, Buffer.alloc(4))], 'peer_protocol'],
  ['a second hello', [helloFrame(node.peer)], 'peer_protocol'],
  ['noise', [Buffer.alloc(2000, 0xa5)], 'peer_protocol'],
  ['HTTP', [Buffer.from('HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n')], 'peer_protocol'],
  ['that it failed', [answerFrame(0, { kind: 'failed' })], 'peer_cut'],
  [
    'that it failed, in mid-chunk',
    [chunk(), data(BODY.subarray(1)), answerFrame(0, { kind: 'failed' })],
    'peer_cut',
  ],
  ['an answer of a later version', [frameOf(KIND.answer, Buffer.from([0xfa, 0x07, 0x01, 0x00]))], 'peer_cut'],
  ['half a frame', [chunk().subarray(0, 20)], 'peer_cut'],
  ['half a chunk', [chunk(), data().subarray(0, 500)], 'peer_cut'],
  ['an acknowledgement alone', [acknowledgedFrame(0)], 'peer_cut'],
];

/** Sends frames; split: some bytes at a time. */
async function say(
  { socket }: RawConnection,
  frames: readonly Uint8Array[],
  isSplit: boolean,
): Promise<void> {
  const bytes = Buffer.concat(frames);
  if (!isSplit) return void socket.write(bytes);
  for (let at = 0; at < bytes.length && !socket.destroyed; at += 7) {
    socket.write(bytes.subarray(at, at + 7));
    await new Promise(setImmediate);
  }
}

/** A peer that answers the request of the one who asks with these frames, and closes then. */
async function answering(frames: readonly Uint8Array[], isSplit = false) {
  const peer = await RawPeer.greeting(node, (connection, { kind }) => {
    if (kind !== KIND.request) return;
    void say(connection, frames, isSplit).then(() => connection.socket.end());
  });
  const asking = await WireNode.start();
  asking.knows(peer);
  return {
    peer,
    asking,
    ask: (more = {}) => ask(asking, peer.member, requestFor(0, LENGTH, more)),
    async [Symbol.asyncDispose]() {
      await asking[Symbol.asyncDispose]();
      await peer[Symbol.asyncDispose]();
    },
  };
}

describe('an answer with', () => {
  for (const [what, frames, code] of WRONG) {
    it(`${what} ends as ${code}`, async () => {
      for (const isSplit of [false, true]) {
        await using scene = await answering(frames, isSplit);
        const { error, answer } = await scene.ask();
        assert.equal(error?.code, code, error?.message ?? JSON.stringify(answer));
        assert.equal(await takenPlaces(scene.asking), 0);
        if (code === 'peer_cut') assert.deepEqual(scene.asking.broken, []);
      }
    });
  }

  it('a breach of the protocol is told, and fails all requests of that connection', async () => {
    await using peer = await RawPeer.greeting(node, (connection, { kind }) => {
      if (kind === KIND.request && connection.count(KIND.request) === 3) connection.send(data());
    });
    await using asking = await WireNode.start();
    asking.knows(peer);
    const asked: Begun[] = [0, 1, 2].map((i) => begin(asking, peer.member, requestFor(i, LENGTH)));
    for (const { ended } of asked) assert.equal((await ended).error?.code, 'peer_protocol');
    await eventually(() => assert.deepEqual(asking.broken, [[peer.node.peer, 'data before their answer']]));
    assert.equal(peer.connections.length, 1);
  });

  it('the right bytes is accepted, however they come', async () => {
    for (const isSplit of [false, true]) {
      const parts = [data(BODY.subarray(0, 1)), data(BODY.subarray(1, 400)), data(BODY.subarray(400))];
      await using peer = await RawPeer.greeting(node, (connection, { kind }) => {
        if (kind === KIND.request) void say(connection, [acknowledgedFrame(0), chunk(), ...parts], isSplit);
      });
      await using asking = await WireNode.start();
      asking.knows(peer);
      const asked = begin(asking, peer.member, requestFor(0, LENGTH));
      const { answer } = await asked.ended;
      assert.ok(answer?.kind === 'chunk');
      assert.ok(BODY.equals(await asking.read(answer.bytes)));
      assert.deepEqual(answer.attestation, attestation);
      assert.deepEqual(asked.events, ['sent', 'acknowledged', 'progressed', 'chunk']);
      assert.equal(asked.bytes.count, LENGTH);
    }
  });

  it('a manifest that no registry takes is refused before memory is taken', async () => {
    await using scene = await answering([chunk((4 << 20) + 1)]);
    const { error } = await ask(scene.asking, scene.peer.member, requestFor());
    assert.equal(error?.code, 'peer_protocol');
    assert.match(error?.message ?? '', /bytes for a manifest/);
  });

  it('more than 3 holders, or malformed ones, is refused', async () => {
    const owner = { repository: 'a/b' as never, token: undefined };
    const keys = [32, 32, 32, 32].map((length) => new Uint8Array(length));
    for (const holders of [keys, [new Uint8Array(31)], [new Uint8Array()]]) {
      const body = { case: 'redirect' as const, value: { holders } };
      const frame = encodeFrame(KIND.answer, toBinary(AnswerSchema, create(AnswerSchema, { id: 0, body })));
      await using scene = await answering([frame]);
      assert.equal((await scene.ask({ owner })).error?.code, 'peer_protocol');
    }
    await using scene = await answering([redirect]);
    assert.deepEqual((await scene.ask({ owner })).answer, { kind: 'redirect', holders: [node.peer] });
  });
});

describe('a peer that', () => {
  it('stalls keeps its connection until the caller gives up, and then still', async () => {
    for (const frames of [[], [acknowledgedFrame(0)], [chunk(), data(BODY.subarray(0, 10))]]) {
      await using peer = await RawPeer.greeting(node, (connection, { kind }) => {
        if (kind === KIND.request && connection.count(KIND.request) === 1) connection.send(...frames);
        else if (kind === KIND.request) connection.send(answerFrame(1, { kind: 'absent' }));
      });
      await using asking = await WireNode.start();
      asking.knows(peer);
      const asked = begin(asking, peer.member, requestFor(0, LENGTH));
      await asked.sent;
      if (frames.length === 1) await asked.acknowledged;
      if (frames.length === 2) await asked.first;
      const before = [...asked.events];
      asked.cancel();
      assert.equal((await ask(asking, peer.member, requestFor(0, 1))).answer?.kind, 'absent');
      assert.deepEqual([asked.events, peer.count(KIND.cancel), peer.connections.length], [before, 1, 1]);
    }
  });

  it('sends bytes behind a whole answer gets none of them taken for another', async () => {
    await using peer = await RawPeer.greeting(node, (connection, { kind }) => {
      if (kind !== KIND.request) return;
      if (connection.count(KIND.request) === 1)
        connection.send(answerFrame(0, { kind: 'absent' }), chunk(), data());
      else connection.send(data(BODY, 0), answerFrame(1, { kind: 'busy', load: 1 }));
    });
    await using asking = await WireNode.start();
    asking.knows(peer);
    assert.equal((await ask(asking, peer.member, requestFor(0, LENGTH))).answer?.kind, 'absent');
    assert.equal((await ask(asking, peer.member, requestFor(0, LENGTH))).answer?.kind, 'busy');
    assert.equal(await takenPlaces(asking), 0);
  });

  it('answers the greeting with anything else is not spoken to', async () => {
    for (const first of [data(), answerFrame(0, { kind: 'absent' }), Buffer.from('HTTP/1.1 400 X\r\n\r\n')]) {
      await using peer = await RawPeer.start(node, (connection) =>
        connection.send(first, helloFrame(node.peer)),
      );
      await using asking = await WireNode.start();
      asking.knows(peer);
      assert.equal((await ask(asking, peer.member, requestFor(0, LENGTH))).error?.code, 'peer_protocol');
      assert.deepEqual([peer.count(KIND.request), asking.introduced], [0, []]);
    }
  });
});
