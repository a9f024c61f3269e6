/** The connections to a member: when they are made, replaced and closed, and which requests are sent again. */
import assert from 'node:assert/strict';
import type { ServedChunk } from '../../../src/transfer/chunk-exchange.ts';
import { encodeFrame, KIND } from '../../../src/transfer/frames.ts';
import { encodeRequest } from '../../../src/transfer/wire-codec.ts';
import { WeirError } from '../../../src/util/errors.ts';
import { Progress } from '../../../src/util/progress.ts';
import { eventually } from '../../support/eventually.ts';
import { fileOf } from '../../support/file-content.ts';
import { ShiftedClock } from '../../support/shifted-clock.ts';
import {
  acknowledgedFrame,
  answerFrame,
  dataFrame,
  makeNode,
  memberOf,
  RawConnection,
  RawPeer,
  type Script,
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
  takenPlaces,
  WireNode,
} from './peer-scene.ts';

/** Sends what is ordered over libuv's next turns, and what comes back. */
async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
}

/** A node that asks, and a raw peer that it knows. */
async function withRaw(script: Script) {
  const peer = await RawPeer.greeting(makeNode(), script);
  const asking = await WireNode.start();
  asking.knows(peer);
  return {
    peer,
    asking,
    async [Symbol.asyncDispose]() {
      await asking[Symbol.asyncDispose]();
      await peer[Symbol.asyncDispose]();
    },
  };
}

describe('a request', () => {
  it('whose connection was closed before an answer is sent once more', async () => {
    await using both = await withRaw((connection, { kind }, number) => {
      if (kind !== KIND.request) return;
      if (number === 2) connection.socket.destroy();
      else connection.send(answerFrame(connection.count(KIND.request) - 1, { kind: 'absent' }));
    });
    const { peer, asking } = both;
    assert.equal((await ask(asking, peer.member, requestFor(0, 10))).answer?.kind, 'absent');
    peer.connections[0]?.socket.destroy();
    await eventually(() => assert.equal(asking.wire.connections, 0));
    const again = begin(asking, peer.member, requestFor(0, 10));
    assert.equal((await again.ended).answer?.kind, 'absent');
    assert.deepEqual(again.events, ['sent', 'sent', 'acknowledged', 'absent']);
    assert.deepEqual([peer.connections.length, peer.count(KIND.request)], [3, 3]);
  });

  it('is sent twice at most', async () => {
    await using both = await withRaw((connection, { kind }) => {
      if (kind === KIND.request) connection.socket.destroy();
    });
    const { peer, asking } = both;
    const asked = begin(asking, peer.member, requestFor(0, 10));
    assert.equal((await asked.ended).error?.code, 'peer_cut');
    assert.deepEqual([asked.events, peer.connections.length], [['sent', 'sent', 'peer_cut'], 2]);
  });

  it('whose answer has begun is not sent again', async () => {
    for (const begun of [
      acknowledgedFrame(0),
      answerFrame(0, { kind: 'chunk', size: 10, attestation: undefined }),
    ]) {
      await using both = await withRaw((connection, { kind }) => {
        if (kind === KIND.request) connection.socket.end(begun);
      });
      const { peer, asking } = both;
      const asked = begin(asking, peer.member, requestFor(0, 10));
      assert.equal((await asked.ended).error?.code, 'peer_cut');
      assert.deepEqual([asked.events, peer.connections.length], [['sent', 'acknowledged', 'peer_cut'], 1]);
      assert.equal(await takenPlaces(asking), 0);
    }
  });

  it('waits while eight others are under way', async () => {
    const gates: ((served: ServedChunk) => void)[] = [];
    const serve = (): Promise<ServedChunk> => new Promise((resolve) => void gates.push(resolve));
    await using scene = await Scene.start({ serve });
    const asked = Array.from({ length: 20 }, () => begin(scene.asking, scene.serving, requestFor(0, 10)));
    await eventually(() => assert.equal(gates.length, 8));
    await turns();
    assert.equal(gates.length, 8);
    assert.deepEqual(
      asked.map(({ events }) => events.length),
      asked.map((_, i) => Number(i < 8)),
    );
    for (let answered = 0; answered < 20; answered++) {
      await eventually(() => assert.ok(gates.length > answered));
      assert.ok(gates.length <= answered + 8);
      gates[answered]?.({ kind: 'absent' });
    }
    await Promise.all(asked.map(({ ended }) => ended));
    assert.equal(scene.serving.refusals.length, 0);
  });

  it('beyond sixteen at a time cuts the asker off', async () => {
    let asked = 0;
    const gone: string[] = [];
    await using scene = await Scene.start({
      serve: (_from, _request, _acknowledge, signal) => {
        asked++;
        signal.addEventListener('abort', () => void gone.push('gone'));
        return new Promise(() => undefined);
      },
    });
    const { serving, asking } = scene;
    const raw = await RawConnection.open(scene.address, { node: asking.node });
    const frames = Array.from({ length: 500 }, (_, id) =>
      encodeFrame(KIND.request, encodeRequest(id, requestFor(0, 1))),
    );
    raw.send(...frames.slice(0, 16));
    await eventually(() => assert.equal(asked, 16));
    assert.deepEqual(serving.refusals, []);
    raw.send(...frames.slice(16));
    await raw.closed;
    assert.deepEqual([asked, serving.refusals], [16, ['too-many']]);
    await eventually(() => assert.equal(gone.length, 16));
    assert.deepEqual(serving.broken, []);
  });

  it('with the number of an earlier one breaks the protocol', async () => {
    await using scene = await Scene.start({ serve: async () => ({ kind: 'absent' }) });
    const { serving, asking } = scene;
    const raw = await RawConnection.open(scene.address, { node: asking.node });
    const request = (id: number): Uint8Array =>
      encodeFrame(KIND.request, encodeRequest(id, requestFor(0, 1)));
    raw.send(request(5), request(7));
    await raw.next(KIND.answer);
    raw.send(request(6));
    await raw.closed;
    assert.deepEqual(
      serving.broken.map(([peer]) => peer),
      [asking.peer],
    );
    assert.match(serving.broken[0]?.[1] ?? '', /number of another/);
  });
});

describe('a request that is cancelled', () => {
  it('in mid-chunk has no event any more, keeps no memory, and leaves the others alone', async () => {
    const bytes = makeBytes();
    const node = makeNode();
    const closed: boolean[] = [];
    await using scene = await Scene.start({
      serve: async (_from, request) => {
        const chunk = serveChunk(bytes, request, node.identity, closed);
        if (request.range?.start !== 0) return chunk;
        const progress = new Progress();
        progress.advance(1 << 17); // the rest never comes
        return { ...chunk, body: { ...fileOf(bytes), progress: progress.memory } };
      },
    });
    const { asking, serving } = scene;
    const one = begin(asking, serving, requestFor(0, 3_000_000));
    await one.first;
    const two = askChunk(asking, serving, requestFor(1, 1_000_000));
    one.cancel();
    one.cancel();
    const answer = await two;
    assert.ok(bytes.subarray(1, 1_000_000).equals(await asking.read(answer.bytes)));
    await eventually(() => assert.deepEqual([closed.length, closed.filter(Boolean).length], [2, 1]));
    assert.deepEqual(one.events, ['sent', 'acknowledged', 'progressed']);
    assert.equal(await takenPlaces(asking), 0);
    assert.deepEqual([serving.wire.connections, serving.reached.length, asking.broken.length], [1, 1, 0]);
  });

  it('ignores the bytes that still come for it', async () => {
    const bytes = Buffer.alloc(1000, 5);
    const cancelled = Promise.withResolvers<void>();
    await using both = await withRaw((connection, { kind }) => {
      if (kind === KIND.cancel) {
        connection.send(
          dataFrame(0, bytes.subarray(100)),
          answerFrame(0, { kind: 'failed' }),
          acknowledgedFrame(0),
        );
        cancelled.resolve();
      } else if (kind === KIND.request && connection.count(KIND.request) === 1) {
        const head = answerFrame(0, { kind: 'chunk', size: 1000, attestation: undefined });
        connection.send(head, dataFrame(0, bytes.subarray(0, 100)));
      } else if (kind === KIND.request) connection.send(answerFrame(1, { kind: 'absent' }));
    });
    const { peer, asking } = both;
    const one = begin(asking, peer.member, requestFor(0, 1000));
    await one.first;
    one.cancel();
    await cancelled.promise;
    assert.equal((await ask(asking, peer.member, requestFor(0, 10))).answer?.kind, 'absent');
    assert.deepEqual(one.events, ['sent', 'acknowledged', 'progressed']);
    assert.equal(await takenPlaces(asking), 0);
    assert.deepEqual([peer.connections.length, asking.broken.length], [1, 0]);
  });

  it('while its chunk is on its way to this thread gives the memory back', async () => {
    await using scene = await Scene.start();
    const { asking, serving } = scene;
    const cancels: (() => void)[] = [];
    const events: string[] = [];
    const cancel = asking.wire.fetch(serving, requestFor(0, 1000), {
      connecting: () => undefined,
      sent: () => undefined,
      acknowledged: () => undefined,
      progressed: () => {
        events.push('progressed');
        for (const each of cancels) each();
      },
      answered: () => events.push('answered'),
      failed: () => events.push('failed'),
    });
    cancels.push(cancel);
    const next = await askChunk(asking, serving, requestFor(0, 1000)); // its answer comes behind the other
    next.release?.();
    assert.equal(await takenPlaces(asking), 0);
    assert.deepEqual(events, ['progressed']);
  });

  it('at once, or while it waits, has no event', async () => {
    await using scene = await Scene.start();
    const { asking, serving } = scene;
    const asked = Array.from({ length: 12 }, () => begin(asking, serving, requestFor(0, 3_000_000)));
    const stranger = begin(asking, makeNode(), requestFor(0, 10));
    for (const { cancel } of [...asked, stranger]) cancel();
    await askChunk(asking, serving, requestFor(0, 10));
    assert.deepEqual(
      [...asked, stranger].flatMap(({ events }) => events),
      [],
    );
  });
});

describe('introduce', () => {
  it('is not called if the member knows this node: it would take a control connection', async () => {
    await using scene = await Scene.start();
    const asks = Array.from({ length: 8 }, (_, i) =>
      askChunk(scene.asking, scene.serving, requestFor(i, i + 10)),
    );
    await Promise.all(asks);
    assert.deepEqual(scene.asking.introduced, []);
  });

  it('is called once if the member cuts off at once, and all that waited is sent then', async () => {
    for (const isSecure of [true, false]) {
      await using serving = await WireNode.start({ isSecure });
      await using asking = await WireNode.start({
        isSecure,
        introduce: async (_peer, self) => serving.knows(self),
      });
      asking.knows(serving);
      for (let i = 0; i < 3; i++) asking.wire.send(serving.peer, messageOf(i));
      const asks = Array.from({ length: 4 }, (_, i) => askChunk(asking, serving, requestFor(i, i + 10)));
      await Promise.all(asks);
      await eventually(() => assert.deepEqual(serving.messages, [0, 1, 2].map(messageOf)));
      assert.deepEqual([asking.introduced, serving.refusals], [[serving.peer], ['stranger']]);
      assert.deepEqual(asking.unreachable, []);
    }
  });

  it('is called once in a while by a node that stays a stranger, also if it fails', async () => {
    await using serving = await WireNode.start();
    await using asking = await WireNode.start({
      introduce: async () => {
        throw new Error('no control connection');
      },
    });
    asking.knows(serving);
    for (let i = 0; i < 3; i++) await askFails('peer_cut', asking, serving, requestFor(0, 1));
    assert.deepEqual(asking.introduced, [serving.peer]);
    assert.ok(asking.unreachable.length > 0);
    serving.knows(asking);
    await askChunk(asking, serving, requestFor(0, 1));
  });
});

describe('a connection to a member', () => {
  it('that has a new certificate is made anew, and the old one is retired once nothing is under way', async () => {
    const progress = new Progress();
    progress.advance(1000);
    const bytes = makeBytes();
    const before = makeNode();
    await using old = await WireNode.start({
      node: before,
      serve: async (_from, request) => {
        const chunk = serveChunk(bytes, request, before.identity);
        const isSlow = request.range?.start === 0;
        return isSlow ? { ...chunk, body: { ...fileOf(bytes), progress: progress.memory } } : chunk;
      },
    });
    await using renewed = await WireNode.start({ node: makeNode(before.identity) });
    await using asking = await WireNode.start();
    for (const each of [old, renewed]) each.knows(asking);
    asking.knows(old);
    const quick = begin(asking, old, requestFor(7, 100));
    const slow = begin(asking, old, requestFor(0, 200_000));
    await quick.ended;
    await slow.first;
    asking.knows(renewed);
    const release = (await askChunk(asking, old, requestFor(5, 100))).release;
    release?.();
    assert.equal(renewed.reports.length, 1);
    assert.equal(old.wire.connections, 1, 'it was cut in mid-chunk');
    // Its own request on the new connection must not make the link forget the other one.
    await askChunk(asking, old, requestFor(6, 100));
    progress.advance(bytes.length);
    const { answer } = await slow.ended;
    assert.ok(answer?.kind === 'chunk');
    assert.ok(bytes.subarray(0, 200_000).equals(await asking.read(answer.bytes)));
    await eventually(() => assert.equal(old.wire.connections, 0));
    assert.equal(renewed.wire.connections, 1);
  });

  it('that is retired brings all its answers, even if no other is made', async () => {
    const gates: ((served: ServedChunk) => void)[] = [];
    const serve = (): Promise<ServedChunk> => new Promise((resolve) => void gates.push(resolve));
    await using scene = await Scene.start({ serve });
    const { asking, serving } = scene;
    const [one, two] = [0, 1].map(() => begin(asking, serving, requestFor(0, 10)));
    await eventually(() => assert.equal(gates.length, 2));
    asking.members.add({ ...serving.member, fingerprint: new Uint8Array(32) });
    gates[0]?.({ kind: 'absent' });
    assert.equal((await one?.ended)?.answer?.kind, 'absent');
    await turns();
    gates[1]?.({ kind: 'busy', load: 3 });
    assert.equal((await two?.ended)?.answer?.kind, 'busy');
    await eventually(() => assert.equal(serving.wire.connections, 0));
  });

  it('is closed by drop, which fails all that is under way and all that waits', async () => {
    await using scene = await Scene.start({ serve: () => new Promise(() => undefined) });
    const { asking, serving } = scene;
    const asked = Array.from({ length: 12 }, () => begin(asking, serving, requestFor(0, 10)));
    await Promise.all(asked.slice(0, 8).map(({ sent }) => sent));
    await eventually(() => assert.equal(serving.wire.connections, 1));
    asking.wire.drop(serving.peer, new WeirError('peer_refused', 'a test'));
    for (const { ended } of asked) assert.equal((await ended).error?.code, 'peer_refused');
    await eventually(() => assert.equal(serving.wire.connections, 0));
    assert.deepEqual([asking.wire.connections, asking.wire.isConnected(serving.peer)], [0, false]);
  });

  it('ends with the node, which fails the requests under way', async () => {
    await using scene = await Scene.start({ serve: () => new Promise(() => undefined) });
    const { asking, serving } = scene;
    const asked = Array.from({ length: 12 }, () => begin(asking, serving, requestFor(0, 10)));
    await asked[0]?.sent;
    await asking.wire[Symbol.asyncDispose]();
    for (const { ended } of asked) assert.equal((await ended).error?.code, 'aborted');
    await eventually(() => assert.equal(serving.wire.connections, 0));
    await askFails('aborted', asking, serving, requestFor(0, 10));
  });

  it('tells when the member leaves it while it was in use', async () => {
    await using scene = await Scene.start();
    const { asking, serving } = scene;
    await askChunk(asking, serving, requestFor(0, 10));
    await serving.wire[Symbol.asyncDispose]();
    await eventually(() => assert.deepEqual(asking.gone, [serving.peer]));
    await askFails('peer_unreachable', asking, serving, requestFor(0, 1));
    assert.equal(asking.unreachable[0]?.code, 'peer_unreachable');
  });

  it('tells nothing when the member leaves it long after it was in use', async () => {
    const clock = new ShiftedClock();
    await using scene = await Scene.start({ asker: { clock } });
    const { asking, serving } = scene;
    await askChunk(asking, serving, requestFor(0, 10));
    clock.advance(30_001);
    await serving.wire[Symbol.asyncDispose]();
    await eventually(() => assert.equal(asking.wire.connections, 0));
    assert.deepEqual([asking.gone, asking.unreachable], [[], []]);
  });
});

describe('messages', () => {
  it('are lost if the member cannot be reached, which is told', async () => {
    await using asking = await WireNode.start();
    asking.wire.send(makeNode().peer, messageOf(1));
    await eventually(() => assert.equal(asking.unreachable.length, 1));
    assert.match(asking.unreachable[0]?.message ?? '', /not known/);
  });

  it('are not sent to a banned member', async () => {
    await using scene = await Scene.start();
    const { asking, serving } = scene;
    asking.members.ban(serving.peer);
    asking.wire.send(serving.peer, messageOf(1));
    await turns();
    assert.equal(asking.wire.isConnected(serving.peer), false);
    assert.deepEqual(serving.messages, []);
  });

  it('that wait for a connection are bounded', async () => {
    await using peer = await RawPeer.start(makeNode(), () => undefined); // it does not greet
    await using asking = await WireNode.start();
    asking.members.add(memberOf(peer.node, peer.member.dataAddresses));
    for (let i = 0; i < 512; i++) asking.wire.send(peer.node.peer, messageOf(i));
    await turns();
    assert.deepEqual(asking.unreachable, []);
    asking.wire.send(peer.node.peer, messageOf(512));
    assert.deepEqual(
      asking.unreachable.map(({ code }) => code),
      ['peer_stalled'],
    );
  });

  it('and requests that waited leave together, as many as may wait', async () => {
    await using scene = await Scene.start();
    const { asking, serving } = scene;
    const attestation = {
      index: 0,
      hash: new Uint8Array(32),
      by: serving.peer,
      signature: new Uint8Array(64),
      verified: true,
    };
    const attestations = Array.from({ length: 64 }, () => attestation);
    const message = { swarm: requestFor().swarm, kind: 'attested', fetchGroup: 1, attestations } as const;
    for (let i = 0; i < 29; i++) asking.wire.send(serving.peer, message); // 250 KiB
    const owner = { repository: 'a/b' as never, token: 'a'.repeat(16_000) };
    const asks = Array.from({ length: 8 }, (_, i) =>
      askChunk(asking, serving, requestFor(i, 1000, { owner })),
    );
    await Promise.all(asks);
    assert.equal(serving.messages.length, 29);
    assert.deepEqual([asking.reached.length, asking.unreachable.length], [1, 0]);
  });
});
