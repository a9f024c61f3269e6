/** The connections of the asking side: when it makes and closes them, and which requests it sends again. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import type { Address, Member } from '../../../src/protocol/member.ts';
import type { ChunkFetchEvents } from '../../../src/transfer/chunk-exchange.ts';
import { ChunkPlaces } from '../../../src/bytes/chunk-places.ts';
import type { ReceivedAnswer } from '../../../src/transfer/chunk-receiver.ts';
import { DataClient } from '../../../src/transfer/https-client.ts';
import { systemClock } from '../../../src/util/clock.ts';
import type { PeerId } from '../../../src/protocol/peer-id.ts';
import type { ChunkClient } from '../../../src/transfer/chunk-exchange.ts';
import { TestClient } from '../../support/peer-client.ts';
import {
  ask,
  askFails,
  askChunk,
  LOOPBACK,
  makeBytes,
  makeNode,
  memberOf,
  requestFor,
  Scene,
  serveChunk,
} from './fixture.ts';
import { RawPeer } from './raw.ts';

const ABSENT = 'HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n';

async function closedPort(): Promise<Address> {
  const server = createServer().listen(0, LOOPBACK);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return { host: LOOPBACK, port };
}

/** A port that accepts connections and sends nothing. */
async function silentPort() {
  const sockets: Socket[] = [];
  const server = createServer((socket) => void sockets.push(socket.on('error', () => {}))).listen(
    0,
    LOOPBACK,
  );
  await once(server, 'listening');
  const address = { host: LOOPBACK, port: (server.address() as AddressInfo).port };
  return {
    address,
    sockets,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function withAddresses(member: Member, ...addresses: readonly Address[]): Member {
  return { ...member, dataAddresses: addresses };
}

/** Starts a request whose events are collected. */
function begin(client: ChunkClient, member: Member, start: number, end: number) {
  const events: string[] = [];
  /** Number of `connecting` events. */
  const turns = { count: 0 };
  const first = Promise.withResolvers<void>();
  const listener: ChunkFetchEvents = {
    connecting: () => void turns.count++,
    sent: () => events.push('sent'),
    acknowledged: () => events.push('acknowledged'),
    progressed: () => first.resolve(),
    answered: ({ kind }) => events.push(kind),
    failed: ({ code }) => events.push(code),
  };
  return {
    events,
    turns,
    first: first.promise,
    cancel: client.fetch(member, requestFor(start, end), listener),
  };
}

describe('the addresses of a member', () => {
  it('are tried one after the other, and the one that answered comes first from then on', async () => {
    await using scene = await Scene.start();
    await using silent = await silentPort();
    const [good = silent.address] = scene.member.dataAddresses;
    const member = withAddresses(scene.member, await closedPort(), silent.address, good);
    const began = performance.now();
    await Promise.all([1, 2, 3].map((i) => askChunk(scene.client, member, requestFor(i, 100 + i))));
    assert.ok(performance.now() - began < 900, 'the client waited for the silent address');
    const tried = silent.sockets.length;
    await Promise.all([1, 2, 3, 4, 5, 6].map((i) => askChunk(scene.client, member, requestFor(i, 100 + i))));
    assert.equal(silent.sockets.length, tried);
  });

  it('that all fail make it unreachable, with the reasons', async () => {
    await using silent = await silentPort();
    await using scene = await Scene.start();
    const addresses = [await closedPort(), silent.address, { host: 'peer.invalid', port: 1 }];
    const began = performance.now();
    const error = await askFails(
      'peer_unreachable',
      scene.client,
      withAddresses(scene.member, ...addresses),
      requestFor(0, 1),
    );
    assert.match(error.message, /ECONNREFUSED.*no connection within 6 s.*peer\.invalid is no IP address/);
    assert.ok(performance.now() - began < 10_000);
    await askFails('peer_unreachable', scene.client, withAddresses(scene.member), requestFor(0, 1));
  });

  it('are replaced by those of its newest record', async () => {
    await using one = await Scene.start();
    await using two = await Scene.start();
    two.members.add(memberOf(one.asking, []));
    await askChunk(one.client, one.member, requestFor(0, 10));
    const moved: Member = {
      ...one.member,
      dataAddresses: two.member.dataAddresses,
      fingerprint: two.member.fingerprint,
    };
    await askChunk(one.client, moved, requestFor(0, 10));
    assert.equal(two.reports.length, 1);
    while (one.server.connections > 0) await new Promise(setImmediate); // the old ones are closed
  });
});

describe('dialling', () => {
  const MEMBERS = 12;

  it('dials eight members at a time, and the others wait for their turn', async () => {
    await using silent = await silentPort();
    await using scene = await Scene.start();
    const asks = Array.from({ length: MEMBERS }, async () => {
      const member = memberOf(makeNode(), [silent.address]);
      await askFails('peer_unreachable', scene.client, member, requestFor(0, 1));
      return silent.sockets.length;
    });
    assert.equal(await Promise.race(asks), 8);
    await Promise.all(asks);
    assert.equal(silent.sockets.length, MEMBERS);
  });

  it('tells each request when its turn has come, also requests that join a dial', async () => {
    await using silent = await silentPort();
    await using scene = await Scene.start();
    const strangers = Array.from({ length: MEMBERS }, () => memberOf(makeNode(), [silent.address]));
    const asked = strangers.map((member) => begin(scene.client, member, 0, 1));
    const joined = begin(scene.client, strangers[0] as Member, 1, 2);
    const late = begin(scene.client, strangers.at(-1) as Member, 1, 2);
    const told = () => [...asked, joined, late].map(({ turns }) => turns.count);
    while (told().reduce((sum, count) => sum + count) < 9) await new Promise(setImmediate);
    assert.deepEqual(told(), [...asked.map((_, at) => Number(at < 8)), 1, 0]);
    while (late.events.length === 0) await new Promise(setImmediate);
    assert.deepEqual([late.turns.count, late.events], [1, ['peer_unreachable']]);
  });

  it('takes one turn for all requests to a member until that has answered', async () => {
    await using silent = await silentPort();
    await using scene = await Scene.start();
    const member = withAddresses(scene.member, silent.address);
    const asks = Array.from({ length: 7 }, () =>
      askFails('peer_unreachable', scene.client, member, requestFor(0, 1)),
    );
    await Promise.all(asks);
    assert.equal(silent.sockets.length, 1);
  });

  it('is left out if no request needs it any more when its turn comes', async () => {
    await using silent = await silentPort();
    await using scene = await Scene.start();
    const others = Array.from({ length: 8 }, () =>
      askFails('peer_unreachable', scene.client, memberOf(makeNode(), [silent.address]), requestFor(0, 1)),
    );
    const late = memberOf(makeNode(), [silent.address]);
    begin(scene.client, late, 0, 1).cancel();
    await Promise.all(others);
    await askChunk(scene.client, scene.member, requestFor(0, 1)); // a turn later
    assert.equal(silent.sockets.length, 8);
  });
});

describe('introduce', () => {
  it('is not called if the member knows this node: it would take a control connection', async () => {
    const introduced: PeerId[] = [];
    await using scene = await Scene.start({
      client: { introduce: async (peer) => void introduced.push(peer) },
    });
    const asks = Array.from({ length: 8 }, (_, i) =>
      askChunk(scene.client, scene.member, requestFor(i, i + 10)),
    );
    await Promise.all(asks);
    assert.deepEqual(introduced, []);
  });

  it('is called once if the member cuts off at once, and the requests are sent again', async () => {
    for (const isSecure of [true, false]) {
      let calls = 0;
      const asking = makeNode();
      await using scene: Scene = await Scene.start({ isSecure });
      await using client = new TestClient({
        self: asking.peer,
        tls: isSecure ? asking.tls : undefined,
        maxDownload: undefined,
        introduce: async () => {
          calls += 1;
          scene.members.add(memberOf(asking, [{ host: LOOPBACK, port: 1 }], { isSecure }));
        },
      });
      const asks = Array.from({ length: 4 }, (_, i) => askChunk(client, scene.member, requestFor(i, i + 10)));
      await Promise.all(asks);
      assert.equal(calls, 1);
      assert.ok(scene.refusals.length >= 1);
    }
  });

  it('is called only once by a node that stays a stranger, and the request is sent again even if it fails', async () => {
    let calls = 0;
    const asking = makeNode();
    await using scene = await Scene.start();
    await using client = new TestClient({
      self: asking.peer,
      tls: asking.tls,
      maxDownload: undefined,
      introduce: async () => {
        calls += 1;
        throw new Error('no control connection');
      },
    });
    for (let i = 0; i < 3; i++) await askFails('peer_cut', client, scene.member, requestFor(0, 1));
    assert.equal(calls, 1);
    scene.members.add(memberOf(asking, []));
    await askChunk(client, scene.member, requestFor(0, 1));
  });
});

describe('a connection', () => {
  it('that was closed while idle is replaced, and no request fails', async () => {
    await using peer = await RawPeer.start(makeNode(), (socket, _request, connection) => {
      if (connection === 1 && peer.requests.length === 2) socket.destroy();
      else socket.write(ABSENT);
    });
    await using scene = await Scene.start();
    for (let i = 0; i < 3; i++) {
      assert.equal((await ask(scene.client, peer.member, requestFor(0, 10))).answer?.kind, 'absent');
    }
    assert.equal(peer.requests.length, 4);
    assert.equal(peer.connections, 2);
  });

  it('is closed if its own request is cancelled, and only then', async () => {
    const signals: AbortSignal[] = [];
    const closed: boolean[] = [];
    const bytes = makeBytes();
    const node = makeNode();
    await using scene = await Scene.start({
      serve: async (_from, request, _acknowledge, signal) => {
        signals.push(signal);
        return serveChunk(bytes, request, node.identity, closed);
      },
      maxUpload: 20 << 20,
    });
    const one = begin(scene.client, scene.member, 0, 3_000_000);
    const two = askChunk(scene.client, scene.member, requestFor(1, 1_000_000));
    await one.first;
    one.cancel();
    one.cancel();
    const answer = await two;
    assert.ok(bytes.subarray(1, 1_000_000).equals(await scene.client.read(answer.bytes)));
    while (closed.length < 2) await new Promise(setImmediate);
    assert.deepEqual(one.events, ['sent', 'acknowledged']);
    assert.deepEqual([closed.length, closed.filter((sent) => sent).length], [2, 1]);
    assert.equal(signals.filter(({ aborted }) => aborted).length, 1);
    while (scene.server.connections > 1) await new Promise(setImmediate);
  });

  it('gives no event to a request that was cancelled while it waited', async () => {
    await using silent = await silentPort();
    await using scene = await Scene.start();
    const asked = begin(scene.client, withAddresses(scene.member, silent.address), 0, 10);
    asked.cancel();
    const answers = Array.from({ length: 10 }, () => begin(scene.client, scene.member, 0, 3_000_000));
    for (const { cancel } of answers) cancel();
    await askChunk(scene.client, scene.member, requestFor(0, 10));
    assert.deepEqual(
      [asked, ...answers].flatMap(({ events }) => events),
      [],
    );
  });

  it('that no request needs after all is closed before the member closes it', async function () {
    this.slow(20_000);
    await using scene = await Scene.start();
    const asked = begin(scene.client, scene.member, 0, 10);
    asked.cancel();
    while (scene.server.connections < 1) await new Promise(setImmediate);
    const opened = performance.now();
    while (scene.server.connections > 0) await new Promise(setImmediate);
    assert.ok(performance.now() - opened < 14_500, 'the server closes it after 15 s');
    assert.deepEqual(asked.events, []);
  });

  it('ends with the client, which fails the requests under way', async () => {
    await using scene = await Scene.start({ serve: () => new Promise(() => {}) });
    const asked = Array.from({ length: 8 }, () => begin(scene.client, scene.member, 0, 10));
    while (scene.server.connections < 6) await new Promise(setImmediate);
    await scene.client[Symbol.asyncDispose]();
    while (scene.server.connections > 0) await new Promise(setImmediate);
    assert.deepEqual(
      asked.flatMap(({ events }) => events.filter((event) => event !== 'sent')),
      asked.map(() => 'aborted'),
    );
  });

  it('gives no event to a request that was cancelled at once, and fails no other', async () => {
    await using scene = await Scene.start();
    const plain = { ...scene.member, fingerprint: new Uint8Array() };
    const asked = begin(scene.client, plain, 0, 10);
    asked.cancel();
    await new Promise(setImmediate);
    assert.deepEqual(asked.events, []);
  });
});

describe('the memory of a chunk', () => {
  it('is used again once it was given back, and not before', async () => {
    await using scene = await Scene.start();
    const places = new ChunkPlaces();
    const { peer: self, tls } = scene.asking;
    await using client = new DataClient({
      self,
      tls,
      limit: undefined,
      introduce: async () => undefined,
      memory: places,
      onIdle: () => undefined,
      clock: systemClock,
    });
    const receive = async (start: number, end: number) => {
      const { promise, resolve, reject } = Promise.withResolvers<ReceivedAnswer>();
      const nothing = (): void => undefined;
      const quiet = { connecting: nothing, sent: nothing, acknowledged: nothing, progressed: nothing };
      client.fetch(scene.member, requestFor(start, end), { ...quiet, answered: resolve, failed: reject });
      const answer = await promise;
      assert.ok(answer.kind === 'chunk' && 'place' in answer.bytes);
      const { place, hash } = answer.bytes;
      const bytes = places.at(place);
      assert.ok(createHash('sha256').update(bytes).digest().equals(hash));
      return { place, bytes };
    };
    const first = await receive(0, 1 << 20);
    const second = await receive(0, 1 << 20);
    assert.notEqual(first.bytes.buffer, second.bytes.buffer);
    places.give(first.place);
    places.give(first.place);
    const third = await receive(7, 700_000);
    const fourth = await receive(8, 800_000);
    assert.equal(third.bytes.buffer, first.bytes.buffer);
    assert.notEqual(fourth.bytes.buffer, first.bytes.buffer);
    assert.ok(makeBytes().subarray(7, 700_000).equals(third.bytes));
    assert.ok(
      makeBytes()
        .subarray(0, 1 << 20)
        .equals(second.bytes),
    );
  });
});
