/** Both sides together, over real sockets on loopback, with TLS and without. */
import assert from 'node:assert/strict';
import { isGenuine } from '../../../src/protocol/attestation.ts';
import type { ChunkFetch, ServedChunk } from '../../../src/transfer/chunk-exchange.ts';
import { parseRepository } from '../../../src/oci/repository.ts';
import { ask, askChunk, makeBytes, makeNode, requestFor, REGISTRY, Scene, serveBlob } from './fixture.ts';

for (const isSecure of [true, false]) {
  describe(`the data plane ${isSecure ? 'with' : 'without'} TLS`, () => {
    it('brings the requested chunk, with its attestation', async () => {
      await using scene = await Scene.start({ isSecure });
      const request = requestFor(700_001, 2_900_123);
      const answer = await askChunk(scene.client, scene.member, request);
      const bytes = makeBytes();
      assert.equal(answer.size, bytes.length);
      assert.ok(bytes.subarray(700_001, 2_900_123).equals(await scene.client.read(answer.bytes)));
      const { attestation } = answer;
      assert.equal(attestation?.index, 3);
      assert.equal(attestation?.by, scene.serving.peer);
      assert.ok(attestation !== undefined && isGenuine(attestation, request.swarm, bytes.length));
    });

    it('reports events in order', async () => {
      await using scene = await Scene.start({ isSecure });
      const { events, bytes } = await ask(scene.client, scene.member, requestFor(0, 1_000_000));
      assert.deepEqual(events, ['acknowledged', 'progressed', 'chunk']);
      assert.equal(bytes, 1_000_000);
    });

    it('brings a whole small blob, also an empty one', async () => {
      for (const length of [0, 1, 40_000]) {
        const bytes = makeBytes(length);
        const node = makeNode();
        await using scene = await Scene.start({ isSecure, serve: serveBlob(bytes, node.identity) });
        const answer = await askChunk(scene.client, scene.member, requestFor());
        assert.ok(bytes.equals(await scene.client.read(answer.bytes)));
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
      await using scene = await Scene.start({
        isSecure,
        serve: async () => left.shift() ?? { kind: 'absent' },
      });
      const owner = { repository: parseRepository(REGISTRY, 'a/b').name, token: undefined };
      for (const expected of answers) {
        const { answer } = await ask(scene.client, scene.member, requestFor(0, 100, { owner }));
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
      for (const request of requests) await ask(scene.client, scene.member, request);
      assert.deepEqual(
        asked,
        requests.map((request) => [scene.asking.peer, request]),
      );
    });

    it('acknowledges with an interim answer while the answer takes its time', async () => {
      const order: string[] = [];
      const gate = Promise.withResolvers<ServedChunk>();
      await using scene = await Scene.start({
        isSecure,
        serve: (_from, _request, acknowledge) => {
          acknowledge();
          return gate.promise;
        },
      });
      const { promise, resolve } = Promise.withResolvers<void>();
      scene.client.fetch(scene.member, requestFor(0, 10), {
        connecting: () => order.push('connecting'),
        sent: () => order.push('sent'),
        acknowledged: () => {
          order.push('acknowledged');
          gate.resolve({ kind: 'busy', load: 1 });
        },
        progressed: () => order.push('progressed'),
        answered: ({ kind }) => {
          order.push(kind);
          resolve();
        },
        failed: (error) => {
          order.push(error.code);
          resolve();
        },
      });
      await promise;
      assert.deepEqual(order, ['connecting', 'sent', 'acknowledged', 'busy']);
    });

    it('uses one connection for requests that follow each other', async () => {
      await using scene = await Scene.start({ isSecure });
      for (let i = 0; i < 20; i++) {
        const { release } = await askChunk(scene.client, scene.member, requestFor(i, 500_000 + i));
        release?.();
        assert.equal(scene.server.connections, 1);
      }
    });

    it('brings 40 chunks at once over 8 connections', async () => {
      await using scene = await Scene.start({ isSecure });
      const bytes = makeBytes();
      const asks = Array.from({ length: 40 }, async (_, i) => {
        const answer = await askChunk(scene.client, scene.member, requestFor(i * 1000, 400_000 + i));
        assert.ok(bytes.subarray(i * 1000, 400_000 + i).equals(await scene.client.read(answer.bytes)));
        if (i % 2 === 0) answer.release?.();
      });
      await Promise.all(asks);
      assert.equal(scene.server.connections, 8);
    });
  });
}
