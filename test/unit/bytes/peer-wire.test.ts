/** Both sides of the peer wire together, over real sockets on loopback, with TLS and without. */
import assert from 'node:assert/strict';
import { isGenuine } from '../../../src/protocol/attestation.ts';
import type { ChunkFetch, ServedChunk } from '../../../src/transfer/chunk-exchange.ts';
import { parseRepository } from '../../../src/oci/repository.ts';
import { eventually } from '../../support/eventually.ts';
import { makeNode } from '../../support/raw-peer.ts';
import {
  ask,
  askChunk,
  begin,
  makeBytes,
  messageOf,
  REGISTRY,
  requestFor,
  Scene,
  serveBlob,
} from './peer-scene.ts';

for (const isSecure of [true, false]) {
  describe(`the peer wire ${isSecure ? 'with' : 'without'} TLS`, () => {
    it('brings the requested chunk, with its attestation', async () => {
      await using scene = await Scene.start({ isSecure });
      const { asking, serving } = scene;
      const request = requestFor(700_001, 2_900_123);
      const answer = await askChunk(asking, serving, request);
      const bytes = makeBytes();
      assert.equal(answer.size, bytes.length);
      assert.ok(bytes.subarray(700_001, 2_900_123).equals(await asking.read(answer.bytes)));
      const { attestation } = answer;
      assert.equal(attestation?.index, 3);
      assert.equal(attestation?.by, serving.peer);
      assert.ok(attestation !== undefined && isGenuine(attestation, request.swarm, bytes.length));
      assert.equal(serving.reports[0]?.peer, asking.peer);
      assert.equal(serving.reports[0]?.bytes, 2_200_122);
    });

    it('reports events in order', async () => {
      await using scene = await Scene.start({ isSecure });
      const { events, bytes, ended } = begin(scene.asking, scene.serving, requestFor(0, 1_000_000));
      await ended;
      assert.deepEqual(events, ['sent', 'acknowledged', 'progressed', 'chunk']);
      assert.equal(bytes.count, 1_000_000);
    });

    it('brings a whole small blob', async () => {
      for (const length of [1, 40_000, 300_000]) {
        const bytes = makeBytes(length);
        const node = makeNode();
        await using scene = await Scene.start({ isSecure, serve: serveBlob(bytes, node.identity) });
        const answer = await askChunk(scene.asking, scene.serving, requestFor());
        assert.ok(bytes.equals(await scene.asking.read(answer.bytes)));
        assert.equal(answer.size, length);
        assert.equal(answer.attestation, undefined);
      }
    });

    it('carries each of the other answers', async () => {
      const holders = [makeNode().peer, makeNode().peer, makeNode().peer];
      const answers: Exclude<ServedChunk, { kind: 'chunk' }>[] = [
        { kind: 'absent' },
        { kind: 'busy', load: 7 },
        { kind: 'retry', after: 120 },
        { kind: 'redirect', holders },
        { kind: 'unable' },
      ];
      const left = [...answers];
      const serve = async (): Promise<ServedChunk> => left.shift() ?? { kind: 'absent' };
      await using scene = await Scene.start({ isSecure, serve });
      const owner = { repository: parseRepository(REGISTRY, 'a/b').name, token: undefined };
      for (const expected of answers) {
        const { answer } = await ask(scene.asking, scene.serving, requestFor(0, 100, { owner }));
        assert.deepEqual(answer, expected);
      }
    });

    it('carries the peer ID of the asker, and what an owner needs to fetch', async () => {
      const asked: [string, ChunkFetch][] = [];
      await using scene = await Scene.start({
        isSecure,
        serve: async (from, request) => {
          asked.push([from, request]);
          return { kind: 'absent' };
        },
      });
      const owner = {
        repository: parseRepository(REGISTRY, 'team/app').name,
        token: 'abc.DEF-1_~+/==',
        size: 2 ** 40,
      };
      const requests = [requestFor(5, 6), requestFor(), requestFor(0, 8 << 20, { owner })];
      requests.push(requestFor(1, 2, { owner: { ...owner, token: undefined, size: undefined } }));
      for (const request of requests) await ask(scene.asking, scene.serving, request);
      assert.deepEqual(
        asked,
        requests.map((request) => [scene.asking.peer, request]),
      );
    });

    it('acknowledges a request while its answer takes its time', async () => {
      const gate = Promise.withResolvers<ServedChunk>();
      await using scene = await Scene.start({
        isSecure,
        serve: (_from, _request, acknowledge) => {
          acknowledge();
          return gate.promise;
        },
      });
      const asked = begin(scene.asking, scene.serving, requestFor(0, 10));
      await asked.acknowledged;
      assert.deepEqual(asked.events, ['sent', 'acknowledged']);
      gate.resolve({ kind: 'busy', load: 1 });
      await asked.ended;
      assert.deepEqual(asked.events, ['sent', 'acknowledged', 'busy']);
      assert.equal(asked.turns.count, 1);
    });

    it('uses one connection for requests that follow each other', async () => {
      await using scene = await Scene.start({ isSecure });
      for (let i = 0; i < 20; i++) {
        const { release } = await askChunk(scene.asking, scene.serving, requestFor(i, 500_000 + i));
        release?.();
        assert.equal(scene.serving.wire.connections, 1);
      }
      assert.equal(scene.serving.reached.length, 1);
    });

    it('brings 40 chunks at once over that connection', async () => {
      await using scene = await Scene.start({ isSecure });
      const { asking, serving } = scene;
      const bytes = makeBytes();
      const asks = Array.from({ length: 40 }, async (_, i) => {
        const answer = await askChunk(asking, serving, requestFor(i * 1000, 400_000 + i));
        assert.ok(bytes.subarray(i * 1000, 400_000 + i).equals(await asking.read(answer.bytes)));
        if (i % 2 === 0) answer.release?.();
      });
      await Promise.all(asks);
      assert.deepEqual([serving.wire.connections, serving.reached.length], [1, 1]);
    });

    it('uses the connection in the other direction, too', async () => {
      await using scene = await Scene.start({ isSecure });
      const { asking, serving } = scene;
      await askChunk(asking, serving, requestFor(0, 100_000));
      assert.ok(serving.wire.isConnected(asking.peer));
      const answer = await askChunk(serving, asking, requestFor(7, 200_000));
      assert.ok(
        makeBytes()
          .subarray(7, 200_000)
          .equals(await serving.read(answer.bytes)),
      );
      serving.wire.send(asking.peer, messageOf(3));
      await eventually(() => assert.deepEqual(asking.messages, [messageOf(3)]));
      assert.deepEqual(
        [asking.reached.length, serving.reached.length],
        [1, 1],
        'a second connection was made',
      );
    });

    it('brings messages in order, 300 that waited for the connection and 300 beside chunks', async () => {
      await using scene = await Scene.start({ isSecure });
      const { asking, serving } = scene;
      for (let i = 0; i < 300; i++) asking.wire.send(serving.peer, messageOf(i));
      assert.equal(asking.wire.isConnected(serving.peer), false);
      await eventually(() => assert.equal(serving.messages.length, 300));
      const chunks = [0, 1, 2, 3].map((i) => askChunk(serving, asking, requestFor(i, 2_000_000)));
      for (let i = 300; i < 600; i++) {
        asking.wire.send(serving.peer, messageOf(i));
        if (i % 50 === 0) await new Promise(setImmediate);
      }
      await eventually(() => assert.equal(serving.messages.length, 600));
      await Promise.all(chunks);
      assert.deepEqual(
        serving.messages,
        Array.from({ length: 600 }, (_, i) => messageOf(i)),
      );
      assert.deepEqual([...new Set(serving.senders)], [asking.peer]);
      assert.equal(asking.reached.length, 1);
    });

    it('loses nothing if both sides dial at the same moment', async () => {
      await using scene = await Scene.start({ isSecure });
      const sides = [scene.asking, scene.serving] as const;
      const pairs = [sides, sides.toReversed() as unknown as typeof sides];
      const asks = pairs.flatMap(([from, to]) => {
        for (let i = 0; i < 100; i++) from.wire.send(to.peer, messageOf(i));
        return Array.from({ length: 12 }, (_, i) => askChunk(from, to, requestFor(i, i + 300_000)));
      });
      await Promise.all(asks);
      const expected = Array.from({ length: 100 }, (_, i) => messageOf(i));
      for (const { messages } of sides) {
        await eventually(() => assert.equal(messages.length, 100));
        assert.deepEqual(messages, expected);
      }
      assert.deepEqual(
        sides.map(({ wire, unreachable, broken, gone }) => [
          wire.connections,
          unreachable.length + broken.length + gone.length,
        ]),
        [
          [2, 0],
          [2, 0],
        ],
      );
    });
  });
}
