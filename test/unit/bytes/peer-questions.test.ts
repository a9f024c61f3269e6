/** Questions between members whose asker waits for the reply. */
import assert from 'node:assert/strict';
import { isWeirError, WeirError, type ErrorCode } from '../../../src/util/errors.ts';
import { encodeFrame, KIND } from '../../../src/transfer/frames.ts';
import { encodeQuestion } from '../../../src/transfer/wire-codec.ts';
import { eventually } from '../../support/eventually.ts';
import { makeNode, memberOf, RawConnection, RawPeer } from '../../support/raw-peer.ts';
import { Scene, WireNode } from './peer-scene.ts';

const QUESTION = Buffer.from('which digest?');
const failsWith =
  (code: ErrorCode) =>
  (error: unknown): boolean =>
    isWeirError(error, code) || assert.fail(String(error));

describe('a question', () => {
  it('gets its reply, whoever has opened the connection', async () => {
    const onQuestion = async (from: string, question: Uint8Array) =>
      Buffer.concat([Buffer.from(from), question]);
    await using scene = await Scene.start({ onQuestion, asker: { onQuestion } });
    const { asking, serving } = scene;
    const asked = [1, 2, 3].map((id) => asking.wire.ask(serving.peer, Buffer.from([id]), { timeout: 5000 }));
    for (const [at, reply] of (await Promise.all(asked)).entries()) {
      assert.deepEqual(Buffer.from(reply), Buffer.concat([Buffer.from(asking.peer), Buffer.from([at + 1])]));
    }
    const back = await serving.wire.ask(asking.peer, QUESTION, { timeout: 5000 });
    assert.deepEqual(Buffer.from(back), Buffer.concat([Buffer.from(serving.peer), QUESTION]));
    assert.equal(serving.wire.connections, 1);
  });

  it('fails with the reason why there is no reply', async () => {
    const never = Promise.withResolvers<Uint8Array>();
    await using scene = await Scene.start({
      onQuestion: (_from, question) => {
        if (question[0] === 1) return never.promise;
        throw new Error('broken');
      },
    });
    const { asking, serving } = scene;
    const ask = (first: number, timeout = 5000, signal?: AbortSignal) =>
      asking.wire.ask(serving.peer, Buffer.from([first]), { timeout, signal });
    await assert.rejects(ask(1, 50), failsWith('peer_stalled'));
    await assert.rejects(ask(2), failsWith('peer_cut'));
    const stop = new AbortController();
    const asked = ask(1, 5000, stop.signal);
    stop.abort(new Error('enough'));
    await assert.rejects(asked, /enough/);
    await assert.rejects(ask(1, 5000, AbortSignal.abort(new Error('before'))), /before/);
    const stranger = makeNode();
    await assert.rejects(
      asking.wire.ask(stranger.peer, QUESTION, { timeout: 5000 }),
      failsWith('peer_unreachable'),
    );
    const cut = assert.rejects(ask(1), failsWith('peer_cut'));
    await eventually(() => assert.equal(serving.wire.connections, 1));
    serving.wire.drop(asking.peer, new WeirError('peer_refused', 'dropped'));
    await cut;
    asking.members.ban(serving.peer);
    await assert.rejects(ask(1), failsWith('peer_refused'));
  });

  it('tells its answerer when the asker is gone', async () => {
    const gone = Promise.withResolvers<void>();
    const began = Promise.withResolvers<void>();
    await using scene = await Scene.start({
      onQuestion: (_from, _question, signal) => {
        signal.addEventListener('abort', () => gone.resolve());
        began.resolve();
        return new Promise(() => undefined);
      },
    });
    const { asking, serving } = scene;
    const asked = assert.rejects(
      asking.wire.ask(serving.peer, QUESTION, { timeout: 5000 }),
      failsWith('aborted'),
    );
    await began.promise;
    await asking.wire[Symbol.asyncDispose]();
    await gone.promise;
    await asked;
  });

  it('that breaks the protocol costs its asker the connection', async () => {
    await using scene = await Scene.start({
      onQuestion: () => Promise.reject(new WeirError('peer_protocol', 'nonsense')),
    });
    const { asking, serving } = scene;
    await assert.rejects(asking.wire.ask(serving.peer, QUESTION, { timeout: 5000 }), failsWith('peer_cut'));
    assert.deepEqual(serving.broken, [[asking.peer, 'nonsense']]);
  });

  it('gets no reply beyond sixteen at a time', async () => {
    const release = Promise.withResolvers<Uint8Array>();
    let answering = 0;
    await using serving = await WireNode.start({
      onQuestion: () => {
        answering += 1;
        return release.promise;
      },
    });
    const node = makeNode();
    serving.members.add(memberOf(node, [{ host: '127.0.0.1', port: 1 }]));
    const raw = await RawConnection.open(serving.address, { node });
    for (let id = 0; id < 20; id++) {
      raw.send(encodeFrame(KIND.question, encodeQuestion({ id, bytes: QUESTION })));
    }
    for (let id = 0; id < 4; id++) await raw.next(KIND.reply);
    assert.equal(answering, 16);
    release.resolve(Buffer.from('yes'));
    for (let id = 0; id < 16; id++) await raw.next(KIND.reply);
    raw.socket.destroy();
  });

  it('is not answered by another member than the asked one', async () => {
    const liar = makeNode();
    await using peer = await RawPeer.greeting(makeNode(), () => undefined);
    await using asking = await WireNode.start();
    asking.knows(peer);
    asking.members.add(memberOf(liar, [{ host: '127.0.0.1', port: 1 }]));
    const asked = asking.wire.ask(peer.member.peer, QUESTION, { timeout: 300 });
    const raw = await RawConnection.open(asking.address, { node: liar });
    raw.send(encodeFrame(KIND.reply, encodeQuestion({ id: 0, bytes: QUESTION })));
    await assert.rejects(asked, failsWith('peer_stalled'));
    raw.socket.destroy();
  });
});

describe('an order', () => {
  it('gets its progress, and is not taken for a question', async () => {
    await using scene = await Scene.start({
      onQuestion: async () => Buffer.from('a tag'),
      onOrder: async (from, order) => Buffer.concat([Buffer.from(from), order]),
    });
    const { asking, serving } = scene;
    const order = Buffer.alloc(20 * 1024, 7);
    const [progress, reply] = await Promise.all([
      asking.wire.order(serving.peer, order, { timeout: 5000 }),
      asking.wire.ask(serving.peer, QUESTION, { timeout: 5000 }),
    ]);
    assert.deepEqual(Buffer.from(progress), Buffer.concat([Buffer.from(asking.peer), order]));
    assert.equal(Buffer.from(reply).toString(), 'a tag');
  });

  it('is passed over by a node that takes none, and costs nobody the connection', async () => {
    await using scene = await Scene.start({ onQuestion: async () => Buffer.from('a tag') });
    const { asking, serving } = scene;
    const order = asking.wire.order(serving.peer, QUESTION, { timeout: 5000 });
    await assert.rejects(order, failsWith('peer_cut'));
    assert.ok(await asking.wire.ask(serving.peer, QUESTION, { timeout: 5000 }));
    assert.deepEqual([serving.broken, asking.broken], [[], []]);
  });
});
