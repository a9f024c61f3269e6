/** No byte goes to a peer that is not a member. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { TLSSocket } from 'node:tls';
import { systemClock } from '../../../src/util/clock.ts';
import { makeCertificate } from '../../../src/transfer/certificate.ts';
import { encodeFrame, KIND } from '../../../src/transfer/frames.ts';
import { encodeRequest } from '../../../src/transfer/wire-codec.ts';
import { encodeSwarmMessage } from '../../../src/protocol/codec.ts';
import { Progress } from '../../../src/util/progress.ts';
import { eventually } from '../../support/eventually.ts';
import { fileOf } from '../../support/file-content.ts';
import {
  dataFrame,
  exchangeRaw,
  frameOf,
  helloFrame,
  LOOPBACK,
  makeNode,
  memberOf,
  RawConnection,
  RawPeer,
  rawSocket,
  type Node,
} from '../../support/raw-peer.ts';
import {
  askChunk,
  askFails,
  makeBytes,
  messageOf,
  requestFor,
  Scene,
  serveChunk,
  WireNode,
  type SceneOptions,
} from './peer-scene.ts';

const REQUEST = encodeFrame(KIND.request, encodeRequest(0, requestFor(0, 100)));
const MESSAGE = encodeFrame(KIND.message, encodeSwarmMessage(messageOf(1)));

/** A greeting and a request: written at once, so that both come in the same packets as the end of the handshake. */
const asked = ({ peer }: Pick<Node, 'peer'>): Buffer => Buffer.concat([helloFrame(peer), REQUEST]);

/** A scene whose serving node tells who asked. */
async function withAsked(options: SceneOptions = {}) {
  const from: string[] = [];
  const node = makeNode();
  const bytes = makeBytes(1000);
  const scene = await Scene.start({
    ...options,
    serve: async (peer, request) => {
      from.push(peer);
      return serveChunk(bytes, request, node.identity);
    },
  });
  return { scene, from, serving: scene.serving, [Symbol.asyncDispose]: () => scene[Symbol.asyncDispose]() };
}

/** Nothing was asked, said or admitted. */
function assertNothing({ scene, from }: Awaited<ReturnType<typeof withAsked>>): void {
  const { wire, messages, reached, broken } = scene.serving;
  assert.deepEqual([from, messages, reached, broken], [[], [], [], []]);
  assert.equal(wire.connections, 0);
}

/** Greets and asks for a chunk. @returns the bytes of data that came */
async function askRaw(scene: Scene, options: Parameters<typeof RawConnection.open>[1]): Promise<number> {
  const raw = await RawConnection.open(scene.address, options);
  raw.send(REQUEST);
  const { body } = await raw.next(KIND.data);
  raw.socket.destroy();
  await raw.closed;
  return body.length - 4;
}

describe('the port of the peer wire with TLS', () => {
  it('answers a member', async () => {
    await using fixture = await withAsked();
    const { scene } = fixture;
    assert.equal(await askRaw(scene, { node: scene.asking.node }), 100);
    assert.deepEqual(fixture.from, [scene.asking.peer]);
  });

  it('gives no byte to a peer without a certificate, a stranger with one, or a banned member', async () => {
    await using fixture = await withAsked();
    const { serving, scene } = fixture;
    const banned = makeNode();
    serving.members.add(memberOf(banned, []));
    serving.members.ban(banned.peer);
    for (const node of [undefined, makeNode(), banned]) {
      // A peer without a certificate of its own says that it is a member.
      const { peer } = node ?? scene.asking;
      for (const sent of [asked({ peer }), helloFrame(peer), Buffer.concat([helloFrame(peer), MESSAGE])]) {
        assert.equal((await exchangeRaw(scene.address, sent, { node })).length, 0);
      }
    }
    assertNothing(fixture);
    assert.deepEqual(serving.refusals, [
      ...Array.from({ length: 3 }, () => 'no-certificate'),
      ...Array.from({ length: 3 }, () => 'stranger'),
      ...Array.from({ length: 3 }, () => 'banned'),
    ]);
  });

  it('gives no byte to a stranger that greets as a member, with its own certificate or one in the name of that member', async () => {
    await using fixture = await withAsked();
    const { scene, serving } = fixture;
    const thief = makeNode();
    const impostor = makeCertificate(scene.asking.peer, systemClock);
    const named = { ...thief, tls: { cert: impostor.certPem, key: impostor.keyPem } };
    for (const node of [thief, named]) {
      assert.equal((await exchangeRaw(scene.address, helloFrame(scene.asking.peer), { node })).length, 0);
    }
    assertNothing(fixture);
    assert.deepEqual(serving.refusals, ['stranger', 'stranger']);
  });

  it('gives no byte to a member that greets as another one', async () => {
    await using fixture = await withAsked();
    const { scene, serving } = fixture;
    const other = makeNode();
    serving.members.add(memberOf(other, []));
    const answer = await exchangeRaw(scene.address, helloFrame(other.peer), { node: scene.asking.node });
    assert.equal(answer.length, 0);
    assertNothing(fixture);
    assert.deepEqual(serving.refusals, ['stranger']);
  });

  it('knows a member by its certificate, even if others have copied its fingerprint', async () => {
    await using fixture = await withAsked();
    const { scene, serving, from } = fixture;
    const { node } = scene.asking;
    // The copy comes first, as after a restart of the member that was copied.
    serving.members.remove(node.peer);
    const copycat = makeNode();
    serving.members.add({ ...memberOf(copycat, []), fingerprint: node.certificate.fingerprint });
    for (const { peer } of [copycat, node]) {
      assert.equal((await exchangeRaw(scene.address, helloFrame(peer), { node })).length, 0);
    }
    assert.deepEqual(serving.refusals, ['stranger', 'stranger']);
    serving.members.add(memberOf(node, []));
    assert.equal(await askRaw(scene, { node }), 100);
    assert.deepEqual(from, [node.peer]);
  });

  it('takes no frame before the hello, and cuts off what is none', async () => {
    await using fixture = await withAsked();
    const { scene, serving } = fixture;
    const { node } = scene.asking;
    const wrong: readonly Uint8Array[] = [
      REQUEST,
      MESSAGE,
      encodeFrame(KIND.ping),
      dataFrame(0, Buffer.from('x')),
      frameOf(200, 'later'),
      frameOf(KIND.hello, 'no hello'),
      frameOf(KIND.hello, '', 257),
      Buffer.from('GET / HTTP/1.1\r\nHost: weir\r\n\r\n'),
    ];
    for (const frame of wrong) {
      const sent = Buffer.concat([frame, helloFrame(node.peer), REQUEST]);
      assert.equal((await exchangeRaw(scene.address, sent, { node })).length, 0);
    }
    assertNothing(fixture);
    assert.deepEqual(serving.refusals, []);
  });

  it('takes no frame together with the hello: the member must be admitted first', async () => {
    await using fixture = await withAsked();
    const { scene, from } = fixture;
    const { node } = scene.asking;
    await exchangeRaw(scene.address, asked(node), { node });
    assert.deepEqual(from, []);
  });

  it('closes at a second hello, which breaks the protocol', async () => {
    await using fixture = await withAsked();
    const { scene, serving } = fixture;
    const { node, peer } = scene.asking;
    for (const second of [peer, makeNode().peer]) {
      const raw = await RawConnection.open(scene.address, { node });
      raw.send(helloFrame(second), REQUEST);
      await raw.closed;
    }
    await eventually(() => assert.equal(serving.broken.length, 2));
    assert.deepEqual(serving.broken, [
      [peer, 'a second hello'],
      [peer, 'a second hello'],
    ]);
    assert.deepEqual(fixture.from, []);
  });

  it('accepts neither an older TLS, nor another protocol over TLS, nor plain text', async () => {
    await using fixture = await withAsked();
    const { scene } = fixture;
    const { node } = scene.asking;
    for (const tls of [
      { maxVersion: 'TLSv1.2' },
      { ALPNProtocols: ['h2', 'weir/2'] },
      { ALPNProtocols: [] },
    ] as const) {
      const answer = await exchangeRaw(scene.address, helloFrame(node.peer), {
        node,
        tls: { ...tls, ...('ALPNProtocols' in tls && { ALPNProtocols: [...tls.ALPNProtocols] }) },
      });
      assert.equal(answer.length, 0, JSON.stringify(tls));
    }
    const plain = await exchangeRaw(scene.address, asked(node), { isSecure: false });
    assert.ok(plain.length <= 7, 'more than an alert of TLS');
    const http = await exchangeRaw(scene.address, 'GET / HTTP/1.1\r\n\r\n', { isSecure: false });
    assert.ok(http.length <= 7);
    assertNothing(fixture);
  });

  it('prefers AES with 128 bits', async () => {
    await using scene = await Scene.start();
    const socket = rawSocket(scene.address, { node: scene.asking.node }) as TLSSocket;
    await once(socket, 'secureConnect');
    assert.equal(socket.getCipher().name, 'TLS_AES_128_GCM_SHA256');
    assert.equal(socket.alpnProtocol, 'weir/1');
    socket.destroy();
  });

  it('resumes no TLS session, neither for its owner nor for a thief', async () => {
    await using fixture = await withAsked();
    const { scene } = fixture;
    const { node } = scene.asking;
    const socket = rawSocket(scene.address, { node });
    const [joined] = (await once(socket, 'session')) as [Buffer];
    socket.destroy();
    const again = rawSocket(scene.address, { node, tls: { session: joined } }) as TLSSocket;
    await once(again, 'secureConnect');
    assert.equal(again.isSessionReused(), false);
    again.destroy();
    const stolen = await exchangeRaw(scene.address, helloFrame(node.peer), { tls: { session: joined } });
    assert.equal(stolen.length, 0);
    assert.deepEqual(fixture.from, []);
  });

  it('cuts off a member that is banned while it reads, or while it is idle', async () => {
    for (const isIdle of [true, false]) {
      const progress = new Progress();
      progress.advance(262_144); // the rest never comes
      const bytes = makeBytes();
      const node = makeNode();
      await using scene = await Scene.start({
        serve: async (_from, request) => {
          const chunk = serveChunk(bytes, request, node.identity);
          return { ...chunk, body: { ...fileOf(bytes), progress: progress.memory } };
        },
      });
      const { asking, serving } = scene;
      const raw = await RawConnection.open(scene.address, { node: asking.node });
      const last = isIdle ? 10 : 2_000_000;
      raw.send(encodeFrame(KIND.request, encodeRequest(0, requestFor(0, last))));
      const received = (): number =>
        raw.frames
          .filter(({ kind }) => kind === KIND.data)
          .reduce((sum, { body }) => sum + body.length - 4, 0);
      while (received() < (isIdle ? 10 : 262_144)) await raw.next(KIND.data);
      serving.members.ban(asking.peer);
      await raw.closed;
      assert.ok(received() < 300_000);
      assert.equal(serving.wire.connections, 0);
      const again = await exchangeRaw(scene.address, helloFrame(asking.peer), { node: asking.node });
      assert.equal(again.length, 0);
    }
  });

  it('sends no chunk after a ban, even if no event reports the ban', async () => {
    const closed: boolean[] = [];
    const banned: (() => void)[] = [];
    const { identity } = makeNode();
    await using scene = await Scene.start({
      serve: async (_from, request) => {
        for (const ban of banned) ban();
        return serveChunk(makeBytes(), request, identity, closed);
      },
    });
    // Like a ban of a member that is suspected already: the live members stay the same.
    banned.push(() => scene.serving.members.banned.add(scene.asking.peer));
    await askFails('peer_cut', scene.asking, scene.serving, requestFor(0, 2_000_000));
    assert.deepEqual(closed, [false]);
  });

  it('cuts off a peer that is not a member any more', async () => {
    await using scene = await Scene.start();
    const raw = await RawConnection.open(scene.address, { node: scene.asking.node });
    scene.serving.members.remove(scene.asking.peer);
    await raw.closed;
  });

  it('cuts off after 15 s who says nothing, before the handshake or after it', async function () {
    this.slow(20_000);
    await using fixture = await withAsked();
    await using plain = await withAsked({ isSecure: false });
    const { node } = fixture.scene.asking;
    const began = performance.now();
    const answers = await Promise.all([
      exchangeRaw(fixture.scene.address, '', { isSecure: false }),
      exchangeRaw(fixture.scene.address, '', { node }),
      exchangeRaw(fixture.scene.address, helloFrame(node.peer).subarray(0, 10), { node }),
      exchangeRaw(plain.scene.address, '', { isSecure: false }),
    ]);
    const seconds = (performance.now() - began) / 1000;
    assert.ok(seconds > 10 && seconds < 25, `${seconds} s`);
    assert.deepEqual(
      answers.slice(1).map(({ length }) => length),
      [0, 0, 0],
    );
    for (const each of [fixture, plain]) assertNothing(each);
  }).timeout(40_000);

  it('bounds the connections of one member', async () => {
    await using scene = await Scene.start();
    const { node } = scene.asking;
    await Promise.all([1, 2, 3, 4].map(() => RawConnection.open(scene.address, { node })));
    const answer = await exchangeRaw(scene.address, helloFrame(node.peer), { node });
    assert.equal(answer.length, 0);
    assert.deepEqual([scene.serving.wire.connections, scene.serving.refusals], [4, ['too-many']]);
  });

  it('bounds the silent connections of one address', async () => {
    await using scene = await Scene.start();
    // The address is one of a member's, and so has a bound of its own.
    const silent = Array.from({ length: 268 }, () => rawSocket(scene.address, { isSecure: false }));
    await eventually(() => assert.equal(scene.serving.refusals.length, 12));
    assert.deepEqual([...new Set(scene.serving.refusals)], ['too-many']);
    for (const socket of silent) socket.destroy();
    await askChunk(scene.asking, scene.serving, requestFor(0, 10));
  });
});

describe('the port of the peer wire without TLS', () => {
  it("believes the peer ID of the hello if the address is that member's", async () => {
    await using fixture = await withAsked({ isSecure: false });
    const { scene, serving, from } = fixture;
    const plain = { isSecure: false };
    assert.equal(await askRaw(scene, { ...plain, node: scene.asking.node }), 100);

    const elsewhere = makeNode();
    serving.members.add({
      ...memberOf(elsewhere, [{ host: '127.0.0.9', port: 1 }], plain),
      controlAddresses: ['/ip4/127.0.0.8/tcp/4001', '/ip6/::2/tcp/4001'],
    });
    const banned = makeNode();
    serving.members.add(memberOf(banned, [{ host: LOOPBACK, port: 1 }], plain));
    serving.members.ban(banned.peer);
    for (const each of [elsewhere, banned, makeNode()]) {
      assert.equal((await exchangeRaw(scene.address, helloFrame(each.peer), plain)).length, 0);
    }
    assert.deepEqual([from.length, serving.refusals], [1, ['stranger', 'banned', 'stranger']]);

    for (const localAddress of ['127.0.0.8', '127.0.0.9']) {
      assert.equal(await askRaw(scene, { ...plain, node: elsewhere, localAddress }), 100);
    }
    assert.deepEqual(from.slice(1), [elsewhere.peer, elsewhere.peer]);
  });

  it('does not let one connection speak for two members', async () => {
    await using fixture = await withAsked({ isSecure: false });
    const { scene, serving, from } = fixture;
    const other = makeNode();
    serving.members.add(memberOf(other, [{ host: LOOPBACK, port: 1 }], { isSecure: false }));
    const raw = await RawConnection.open(scene.address, { node: scene.asking.node, isSecure: false });
    raw.send(helloFrame(other.peer), REQUEST);
    await raw.closed;
    await eventually(() => assert.equal(serving.broken[0]?.[0], scene.asking.peer));
    assert.deepEqual(from, []);
  });
});

describe('the dialling side', () => {
  it('sends no byte to a port with another certificate than the record names', async () => {
    const [node, claimed] = [makeNode(), makeNode()];
    let heard = 0;
    await using peer = await RawPeer.start(node, () => void heard++, { claims: claimed });
    await using asking = await WireNode.start();
    asking.knows(peer);
    const owner = { repository: 'a/b' as never, token: 'secret' };
    await askFails('peer_unreachable', asking, peer.member, requestFor(0, 1, { owner }));
    await eventually(() => assert.ok(peer.connections.every(({ socket }) => socket.destroyed)));
    assert.equal(heard, 0);
  });

  it('says nothing to a member that greets as another one', async () => {
    const node = makeNode();
    await using peer = await RawPeer.start(node, (connection) =>
      connection.send(helloFrame(makeNode().peer)),
    );
    await using asking = await WireNode.start();
    asking.knows(peer);
    await askFails('peer_protocol', asking, peer.member, requestFor(0, 1));
    assert.deepEqual([peer.count(KIND.request), asking.wire.connections], [0, 0]);
  });

  it('sends no request to a member with TLS if it has none, nor the other way round', async () => {
    await using secure = await WireNode.start();
    await using plain = await WireNode.start({ isSecure: false });
    secure.knows(plain);
    plain.knows(secure);
    const one = await askFails('peer_unreachable', secure, plain, requestFor(0, 1));
    const two = await askFails('peer_unreachable', plain, secure, requestFor(0, 1));
    assert.match(`${one.message} ${two.message}`, /without TLS.*with TLS/);
    assert.equal(secure.wire.connections + plain.wire.connections, 0);
  });
});
