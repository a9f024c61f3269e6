/** Wrong answers of a member, and the outcome of the request. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { ErrorCode } from '../../../src/util/errors.ts';
import { attest } from '../../../src/protocol/attestation.ts';
import { formatAttestation } from '../../../src/transfer/wire-format.ts';
import { TestClient } from '../../support/peer-client.ts';
import { ask, makeNode, requestFor } from './fixture.ts';
import { RawPeer } from './raw.ts';

const LENGTH = 1000;
const BODY = 'x'.repeat(LENGTH);
const RANGE = `Content-Range: bytes 0-${LENGTH - 1}/5000\r\n`;
const node = makeNode();
const { swarm } = requestFor(0, LENGTH);
const ATTESTATION = formatAttestation(
  attest(node.identity, swarm, 5000, { index: 0, hash: new Uint8Array(32), verified: true }),
);

function answer(status: number, headers: string, body = ''): string {
  return `HTTP/1.1 ${status} X\r\n${headers}\r\n${body}`;
}

const long = `Content-Length: ${LENGTH}\r\n`;
const none = 'Content-Length: 0\r\n';
const attested = (text: string): string => answer(206, `${long}${RANGE}Weir-Statement: ${text}\r\n`, BODY);

const WRONG: readonly (readonly [what: string, answer: string, code: ErrorCode])[] = [
  ['another range', answer(206, `${long}Content-Range: bytes 1-${LENGTH}/5000\r\n`, BODY), 'peer_protocol'],
  [
    'a longer range',
    answer(206, `Content-Length: 1001\r\nContent-Range: bytes 0-1000/5000\r\n`, `${BODY}x`),
    'peer_protocol',
  ],
  [
    'a shorter range',
    answer(206, `Content-Length: 999\r\nContent-Range: bytes 0-998/5000\r\n`, BODY.slice(1)),
    'peer_protocol',
  ],
  ['no range', answer(206, long, BODY), 'peer_protocol'],
  ['a range without size', answer(206, `${long}Content-Range: bytes 0-999/*\r\n`, BODY), 'peer_protocol'],
  [
    'a blob that ends before the range',
    answer(206, `${long}Content-Range: bytes 0-999/999\r\n`, BODY),
    'peer_protocol',
  ],
  [
    'a blob larger than any',
    answer(206, `${long}Content-Range: bytes 0-999/1099511627777\r\n`, BODY),
    'peer_protocol',
  ],
  ['the whole blob', answer(200, 'Content-Length: 5000\r\n', 'x'.repeat(5000)), 'peer_protocol'],
  ['another length', answer(206, `Content-Length: 999\r\n${RANGE}`, BODY.slice(1)), 'peer_protocol'],
  ['no length', answer(206, RANGE, BODY), 'peer_protocol'],
  ['two lengths', answer(206, `${long}${long}${RANGE}`, BODY), 'peer_protocol'],
  ['a length with a sign', answer(206, `Content-Length: +1000\r\n${RANGE}`, BODY), 'peer_protocol'],
  ['two lengths in one', answer(206, `Content-Length: 1000, 1000\r\n${RANGE}`, BODY), 'peer_protocol'],
  [
    'chunks',
    answer(206, `Transfer-Encoding: chunked\r\n${RANGE}`, `3e8\r\n${BODY}\r\n0\r\n\r\n`),
    'peer_protocol',
  ],
  [
    'chunks and a length',
    answer(206, `${long}Transfer-Encoding: chunked\r\n${RANGE}`, BODY),
    'peer_protocol',
  ],
  ['a coding', answer(206, `${long}Content-Encoding: gzip\r\n${RANGE}`, BODY), 'peer_protocol'],
  ['more than announced', answer(206, `${long}${RANGE}`, `${BODY}x`), 'peer_protocol'],
  ['an answer with a body', answer(404, long, BODY), 'peer_protocol'],
  ['bytes behind an answer', answer(404, none, 'x'), 'peer_protocol'],
  ['an attestation that is short', attested(ATTESTATION.slice(1)), 'peer_protocol'],
  ['an attestation that is long', attested(`${ATTESTATION}AAAA`), 'peer_protocol'],
  ['an attestation that is no base64url', attested(`!${ATTESTATION.slice(1)}`), 'peer_protocol'],
  ['an attestation with padding', attested(`${ATTESTATION.slice(0, -1)}=`), 'peer_protocol'],
  [
    'an attestation about a chunk that no blob has',
    attested(`_____${ATTESTATION.slice(5)}`),
    'peer_protocol',
  ],
  ['a status that says nothing', answer(418, none), 'peer_protocol'],
  [
    'a redirect to a peer that did not ask an owner',
    answer(307, `${none}Weir-Holders: ${node.peer}\r\n`),
    'peer_protocol',
  ],
  ['403 that is not "unable"', answer(403, none), 'peer_protocol'],
  ['a load that is none', answer(503, `${none}Weir-Load: -1\r\n`), 'peer_cut'],
  ['a load beyond belief', answer(503, `${none}Weir-Load: 1000001\r\n`), 'peer_cut'],
  ['a pause beyond patience', answer(503, `${none}Weir-Retry-In: 60001\r\n`), 'peer_cut'],
  ['that it failed', answer(500, none), 'peer_cut'],
  ['an upgrade', answer(101, 'Upgrade: h2c\r\nConnection: upgrade\r\n'), 'peer_protocol'],
  ['interim answers without end', answer(102, '').repeat(5), 'peer_protocol'],
  ['a head without end', `HTTP/1.1 206 X\r\n${'A: b\r\n'.repeat(3000)}`, 'peer_protocol'],
  ['a header without end', `HTTP/1.1 206 X\r\nA: ${'b'.repeat(20_000)}`, 'peer_protocol'],
  ['a folded header', answer(206, `${long}${RANGE}A: b\r\n c\r\n`, BODY), 'peer_protocol'],
  ['a header without a name', answer(206, `: b\r\n${long}${RANGE}`, BODY), 'peer_protocol'],
  ['a header with a space in its name', answer(206, `${long}A b: c\r\n${RANGE}`, BODY), 'peer_protocol'],
  ['a header with a null', answer(206, `${long}A: \0\r\n${RANGE}`, BODY), 'peer_protocol'],
  [
    'lines that end with LF alone',
    answer(206, `${long}${RANGE}`, BODY).replaceAll('\r\n', '\n') + '\r\n\r\n',
    'peer_protocol',
  ],
  ['another version', `HTTP/2.0 404 X\r\n${none}\r\n`, 'peer_protocol'],
  ['no HTTP', '\x00'.repeat(9000), 'peer_protocol'],
  ['nothing', '', 'peer_cut'],
  ['half a head', 'HTTP/1.1 206 X\r\nConte', 'peer_cut'],
  ['half a body', answer(206, `${long}${RANGE}`, BODY.slice(0, 500)), 'peer_cut'],
  ['an interim answer alone', answer(102, ''), 'peer_cut'],
];

function makeClient(): TestClient {
  const self = makeNode();
  return new TestClient({ self: self.peer, tls: self.tls, maxDownload: undefined });
}

describe('an answer with', () => {
  for (const [what, text, code] of WRONG) {
    it(`${what} ends as ${code}`, async () => {
      for (const isSplit of [false, true]) {
        await using peer = await RawPeer.start(node, (socket) => void say(socket, text, isSplit));
        await using client = makeClient();
        const { error, answer: given } = await ask(client, peer.member, requestFor(0, LENGTH));
        assert.equal(error?.code, code, error?.message ?? JSON.stringify(given));
      }
    });
  }

  it('the right range is accepted, however its bytes come', async () => {
    for (const isSplit of [false, true]) {
      await using peer = await RawPeer.start(
        node,
        (socket) => void say(socket, answer(102, '') + attested(ATTESTATION), isSplit),
      );
      await using client = makeClient();
      const { answer: given, events } = await ask(client, peer.member, requestFor(0, LENGTH));
      assert.ok(given?.kind === 'chunk');
      assert.equal(Buffer.from(await client.read(given.bytes)).toString(), BODY);
      assert.equal(given.attestation?.by, node.peer);
      assert.deepEqual(events, ['acknowledged', 'progressed', 'chunk']);
    }
  });

  it('more than 3 holders, or malformed ones, is refused', async () => {
    const owner = { repository: 'a/b' as never, token: undefined };
    const peers = Array.from({ length: 4 }, () => makeNode().peer);
    for (const holders of [peers.join(','), 'x', '', `${peers[0]},`, `${peers[0]}, ${peers[1]}`]) {
      const text = answer(307, `${none}Weir-Holders: ${holders}\r\n`);
      await using peer = await RawPeer.start(node, (socket) => void say(socket, text, false));
      await using client = makeClient();
      const { error } = await ask(client, peer.member, requestFor(0, LENGTH, { owner }));
      assert.equal(error?.code, 'peer_protocol', holders);
    }
  });
});

describe('a peer that', () => {
  it('stalls keeps its connection until the caller gives up', async () => {
    for (const text of ['', answer(102, ''), answer(206, `${long}${RANGE}`, BODY.slice(0, 10))]) {
      const closed = Promise.withResolvers<void>();
      await using peer = await RawPeer.start(node, (socket) => {
        socket.write(text);
        socket.once('close', () => closed.resolve());
      });
      await using client = makeClient();
      const events: string[] = [];
      const asked = Promise.withResolvers<void>();
      const cancel = client.fetch(peer.member, requestFor(0, LENGTH), {
        connecting: () => undefined,
        sent: () => undefined,
        acknowledged: () => events.push('acknowledged'),
        progressed: () => asked.resolve(),
        answered: () => events.push('answered'),
        failed: () => events.push('failed'),
      });
      const expected = text === '' ? [] : ['acknowledged'];
      while (peer.requests.length === 0 || events.length < expected.length) await new Promise(setImmediate);
      if (text.includes('206')) await asked.promise;
      cancel();
      await closed.promise;
      assert.deepEqual(events, expected);
    }
  });

  it('sends bytes without a request loses its connection, and no byte is taken for an answer', async () => {
    const answered = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    await using peer = await RawPeer.start(node, (socket, _request, connection) => {
      socket.write(answer(404, none));
      if (connection > 1) return;
      void answered.promise.then(() => socket.write(attested(ATTESTATION)));
      socket.once('close', () => closed.resolve());
    });
    await using client = makeClient();
    assert.equal((await ask(client, peer.member, requestFor(0, LENGTH))).answer?.kind, 'absent');
    answered.resolve();
    await closed.promise;
    assert.equal((await ask(client, peer.member, requestFor(0, LENGTH))).answer?.kind, 'absent');
    assert.equal(peer.connections, 2);
  });

  it('announces that it closes gets the next request over another connection', async () => {
    await using peer = await RawPeer.start(
      node,
      (socket) => void socket.write(answer(404, `${none}Connection: close\r\n`)),
    );
    await using client = makeClient();
    for (let i = 1; i <= 3; i++) {
      assert.equal((await ask(client, peer.member, requestFor(0, LENGTH))).answer?.kind, 'absent');
      assert.equal(peer.connections, i);
    }
  });
});

/** Sends `text` and closes; split: the first bytes seven at a time. */
async function say(socket: Socket, text: string, isSplit: boolean): Promise<void> {
  const bytes = Buffer.from(text, 'latin1');
  const slow = isSplit ? bytes.subarray(0, 400) : Buffer.alloc(0);
  for (let at = 0; at < slow.length && !socket.destroyed; at += 7) {
    socket.write(slow.subarray(at, at + 7));
    await new Promise(setImmediate);
  }
  socket.end(bytes.subarray(slow.length));
  if (!socket.closed) await once(socket, 'close');
}
