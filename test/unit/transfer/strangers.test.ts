/** No byte goes to a peer that is not a member. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { systemClock } from '../../../src/util/clock.ts';
import { makeCertificate } from '../../../src/transfer/certificate.ts';
import type { ServedChunk } from '../../../src/transfer/chunk-exchange.ts';
import {
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
import { Progress } from '../../../src/util/progress.ts';
import { fileOf } from '../../support/file-content.ts';
import { exchangeRaw, rawSocket, RawPeer, requestText } from './raw.ts';

/** A scene whose server reports requests. */
async function withAsked(options: Parameters<typeof Scene.start>[0] = {}) {
  const asked: string[] = [];
  const node = makeNode();
  const bytes = makeBytes(1000);
  const scene = await Scene.start({
    ...options,
    serve: async (from, request) => {
      asked.push(from);
      return serveChunk(bytes, request, node.identity);
    },
  });
  return { scene, asked, [Symbol.asyncDispose]: () => scene[Symbol.asyncDispose]() };
}

const address = (scene: Scene) => scene.member.dataAddresses[0] ?? { host: '', port: 0 };
const nameLine = (peer: string): string => `Weir-Peer: ${peer}\r\nConnection: close\r\n`;

describe('the data port with TLS', () => {
  it('answers a member', async () => {
    await using fixture = await withAsked();
    const { scene } = fixture;
    const answer = await exchangeRaw(address(scene), requestText('Connection: close\r\n'), {
      node: scene.asking,
    });
    assert.match(answer, /^HTTP\/1\.1 206 /);
    assert.deepEqual(fixture.asked, [scene.asking.peer]);
  });

  it('gives no HTTP answer to a peer without a certificate, a stranger with one, or a banned member', async () => {
    await using fixture = await withAsked();
    const { scene, asked } = fixture;
    const banned = makeNode();
    scene.members.add(memberOf(banned, []));
    scene.members.ban(banned.peer);
    for (const node of [undefined, makeNode(), banned]) {
      // Written at once, so that the request comes in the same packets as the end of the handshake.
      for (const request of [requestText(), 'garbage\r\n\r\n', '']) {
        assert.equal(await exchangeRaw(address(scene), request, { node }), '');
      }
    }
    assert.deepEqual(asked, []);
    assert.deepEqual([...new Set(scene.refusals)], ['no-certificate', 'stranger', 'banned']);
    assert.equal(scene.refusals.length, 9);
    assert.equal(scene.server.connections, 0);
  });

  it('knows a member by its certificate, even if others have copied its fingerprint', async () => {
    await using fixture = await withAsked();
    const { scene, asked } = fixture;
    const { asking } = scene;
    const request = requestText('Connection: close\r\n');
    // The copy comes first, as after a restart of the member that was copied.
    scene.members.remove(asking.peer);
    const copycat = makeNode();
    scene.members.add({ ...memberOf(copycat, []), fingerprint: asking.certificate.fingerprint });
    assert.equal(await exchangeRaw(address(scene), request, { node: asking }), '');
    scene.members.add(memberOf(asking, []));
    assert.match(await exchangeRaw(address(scene), request, { node: asking }), /^HTTP\/1\.1 206 /);
    // A peer with a certificate in another's name does not pass for that member either.
    const impostor = makeCertificate(asking.peer, systemClock);
    const node = { ...copycat, tls: { cert: impostor.certPem, key: impostor.keyPem } };
    assert.equal(await exchangeRaw(address(scene), request, { node }), '');
    assert.deepEqual(asked, [asking.peer]);
  });

  it('accepts neither an older TLS nor plain HTTP', async () => {
    await using fixture = await withAsked();
    const { scene, asked } = fixture;
    const node = scene.asking;
    assert.equal(
      await exchangeRaw(address(scene), requestText(), { node, tls: { maxVersion: 'TLSv1.2' } }),
      '',
    );
    const plain = await exchangeRaw(address(scene), requestText(), { isSecure: false });
    assert.doesNotMatch(plain, /HTTP/);
    assert.deepEqual(asked, []);
  });

  it('prefers AES with 128 bits', async () => {
    await using scene = await Scene.start();
    const socket = rawSocket(address(scene), { node: scene.asking }) as TLSSocket;
    await once(socket, 'secureConnect');
    assert.equal(socket.getCipher().name, 'TLS_AES_128_GCM_SHA256');
    socket.destroy();
  });

  it('resumes no TLS session, neither for its owner nor for a thief', async () => {
    await using fixture = await withAsked();
    const { scene, asked } = fixture;
    const socket = rawSocket(address(scene), { node: scene.asking });
    const [joined] = (await once(socket, 'session')) as [Buffer];
    socket.destroy();
    const again = rawSocket(address(scene), { node: scene.asking, tls: { session: joined } }) as TLSSocket;
    await once(again, 'secureConnect');
    assert.equal(again.isSessionReused(), false);
    again.destroy();
    assert.equal(await exchangeRaw(address(scene), requestText(), { tls: { session: joined } }), '');
    assert.deepEqual(asked, []);
  });

  it('cuts off a member that is banned while it reads, or while it is idle', async () => {
    for (const isResting of [true, false]) {
      const progress = new Progress();
      progress.advance(262_144); // the rest never comes
      const closed: boolean[] = [];
      const bytes = makeBytes();
      await using scene: Scene = await Scene.start({
        serve: async (_from, request): Promise<ServedChunk> => {
          const chunk = serveChunk(bytes, request, scene.serving.identity, closed);
          if (chunk.kind !== 'chunk') return chunk;
          return { ...chunk, body: { ...fileOf(bytes), progress: progress.memory } };
        },
      });
      const socket = rawSocket(address(scene), { node: scene.asking });
      let received = 0;
      socket.on('data', (part: Buffer) => (received += part.length));
      const ended = once(socket, 'close');
      socket.write(requestText('', 0, isResting ? 10 : 2_000_000));
      const isThere = (): boolean => received >= (isResting ? 10 : 262_144);
      while (!isThere()) await once(socket, 'data');
      scene.members.ban(scene.asking.peer);
      await ended;
      assert.ok(received < 300_000);
      assert.equal(scene.server.connections, 0);
      assert.equal(await exchangeRaw(address(scene), requestText(), { node: scene.asking }), '');
    }
  });

  it('sends no chunk after a ban, even if no event reports the ban', async () => {
    const closed: boolean[] = [];
    await using scene: Scene = await Scene.start({
      serve: async (from, request) => {
        const chunk = serveChunk(makeBytes(), request, scene.serving.identity, closed);
        scene.members.banned.add(from); // like a ban of a member that is suspected already: the live members stay the same
        return chunk;
      },
    });
    await askFails('peer_cut', scene.client, scene.member, requestFor(0, 2_000_000));
    assert.ok(closed.length > 0 && !closed.includes(true));
  });

  it('cuts off a peer that is not a member any more', async () => {
    await using scene = await Scene.start();
    const socket = rawSocket(address(scene), { node: scene.asking });
    socket.write(requestText('', 0, 10));
    await once(socket, 'data');
    const ended = once(socket, 'close');
    scene.members.remove(scene.asking.peer);
    await ended;
  });

  it('bounds the connections of one member, and the silent ones of one address', async () => {
    await using scene = await Scene.start();
    const open = (count: number, isSecure: boolean) =>
      Array.from({ length: count }, () => rawSocket(address(scene), { node: scene.asking, isSecure }));
    const secure = open(20, true);
    await Promise.all(secure.map((socket) => once(socket, 'secureConnect')));
    const refused = secure.filter((socket) => !socket.closed).map((socket) => once(socket, 'close'));
    await Promise.any(refused);
    assert.equal(scene.server.connections, 16);
    const silent = open(264, false);
    const refusals = (): number => scene.refusals.filter((reason) => reason === 'too-many').length;
    while (refusals() < 12) await setTimeout(5);
    for (const socket of [...secure, ...silent]) socket.destroy();
    assert.equal(refusals(), 12);
  });
});

describe('the data port without TLS', () => {
  it("believes the peer ID in the header if the address is that member's", async () => {
    await using fixture = await withAsked({ isSecure: false });
    const { scene, asked } = fixture;
    const [at = { host: '', port: 0 }] = scene.member.dataAddresses;
    const text = requestText(nameLine(scene.asking.peer));
    assert.match(await exchangeRaw(at, text, { isSecure: false }), /^HTTP\/1\.1 206 /);
    assert.equal(asked.length, 1);

    const elsewhere = makeNode();
    scene.members.add({
      ...memberOf(elsewhere, [{ host: '127.0.0.9', port: 1 }], { isSecure: false }),
      controlAddresses: ['/ip4/127.0.0.8/tcp/4001', '/ip6/::2/tcp/4001'],
    });
    const banned = makeNode();
    scene.members.add(memberOf(banned, [{ host: LOOPBACK, port: 1 }], { isSecure: false }));
    scene.members.ban(banned.peer);
    const names = [elsewhere.peer, banned.peer, makeNode().peer, 'x', '', `${scene.asking.peer}, x`];
    for (const each of names)
      assert.equal(await exchangeRaw(at, requestText(nameLine(each)), { isSecure: false }), '', each);
    assert.equal(await exchangeRaw(at, requestText(), { isSecure: false }), '');
    assert.equal(asked.length, 1);

    for (const localAddress of ['127.0.0.8', '127.0.0.9']) {
      const answer = await exchangeRaw(at, requestText(nameLine(elsewhere.peer)), {
        isSecure: false,
        localAddress,
      });
      assert.match(answer, /^HTTP\/1\.1 206 /);
    }
    assert.deepEqual(asked.slice(1), [elsewhere.peer, elsewhere.peer]);
  });

  it('does not let one connection speak for two members', async () => {
    await using fixture = await withAsked({ isSecure: false });
    const { scene, asked } = fixture;
    const other = makeNode();
    scene.members.add(memberOf(other, [{ host: LOOPBACK, port: 1 }], { isSecure: false }));
    const [at = { host: '', port: 0 }] = scene.member.dataAddresses;
    const socket = rawSocket(at, { isSecure: false });
    socket.write(requestText(`Weir-Peer: ${scene.asking.peer}\r\n`));
    await once(socket, 'data');
    const ended = once(socket, 'close');
    socket.write(requestText(`Weir-Peer: ${other.peer}\r\n`));
    await ended;
    assert.deepEqual(asked, [scene.asking.peer]);
  });
});

describe('the data client', () => {
  it('sends no byte to a port with another certificate than the record names', async () => {
    const [node, claimed] = [makeNode(), makeNode()];
    await using peer = await RawPeer.start(node, (socket) => void socket.end('HTTP/1.1 404 X\r\n\r\n'), {
      claims: claimed,
    });
    await using scene = await Scene.start();
    const owner = { repository: 'a/b' as never, token: 'secret' };
    await askFails('peer_unreachable', scene.client, peer.member, requestFor(0, 1, { owner }));
    assert.deepEqual(peer.requests, []);
  });

  it('sends no request to a member with TLS if it has none, nor the other way round', async () => {
    await using secure = await Scene.start();
    await using plain = await Scene.start({ isSecure: false });
    const one = await askFails('peer_unreachable', secure.client, plain.member, requestFor(0, 1));
    const two = await askFails('peer_unreachable', plain.client, secure.member, requestFor(0, 1));
    assert.match(`${one.message} ${two.message}`, /without TLS.*with TLS/);
    assert.equal(secure.server.connections + plain.server.connections, 0);
  });

  it('presents its certificate, so that a server knows the asker', async () => {
    await using scene = await Scene.start();
    await askChunk(scene.client, scene.member, requestFor(0, 10));
    assert.equal(scene.reports[0]?.peer, scene.asking.peer);
    assert.equal(scene.reports[0]?.bytes, 10);
  });
});
