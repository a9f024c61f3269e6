/** The mirror as in a node, at a real socket: requests as they are written, byte by byte. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { parseAnswer } from '../../support/raw-http.ts';
import { MirrorFixture } from '../../support/mirror-fixture.ts';
import type { Chance } from '../harness/chance.ts';
import type { Run, Target } from '../harness/target.ts';
import { DIGEST } from './samples.ts';

/** Milliseconds after which a connection that neither answers nor closes is a finding. */
const TIMEOUT = 10_000;
/** Milliseconds without a byte of an answer after which the client leaves. */
const PATIENCE = 2;
/** A correct request is sent after so many inputs. */
const CHECK_EVERY = 50;
const NAME = 'team/app';

const requests = (registry: string, layer: string): readonly string[] => [
  `GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n`,
  `GET /v2/${NAME}/manifests/v1?ns=${registry} HTTP/1.1\r\nHost: localhost:4770\r\nAccept: */*\r\n\r\n`,
  `HEAD /v2/${NAME}/blobs/${layer}?ns=${registry} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`,
  `GET /v2/${NAME}/blobs/${layer}?ns=${registry} HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=5-\r\nIf-None-Match: "x"\r\n\r\n`,
  `GET /v2/${NAME}/tags/list?n=1&ns=${registry} HTTP/1.0\r\n\r\n`,
  `GET /v2/${NAME}/referrers/${DIGEST}?ns=${registry} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic YTpi\r\n\r\n`,
  `POST /v2/${NAME}/blobs/uploads/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n`,
  `GET /v2/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhelloGET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n`,
  `GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nOrigin: http://a\r\n\r\n`,
  `CONNECT a.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n`,
];

/** Stands for the registry's host, whose port is not known in advance. */
const REGISTRY = 'REGISTRY';
const LAYER = 'LAYER';

export const mirror: Target = {
  name: 'mirror',
  share: 30,
  isPure: false,
  limit: TIMEOUT,
  seeds: requests(REGISTRY, LAYER),
  words: [
    '\r\n',
    '\r\n\r\n',
    'Host: localhost\r\n',
    'Content-Length: 0\r\n',
    'Content-Length: 5\r\n',
    'Transfer-Encoding: chunked\r\n',
    'Transfer-Encoding: identity\r\n',
    'Connection: close\r\n',
    'Expect: 100-continue\r\n',
    'Upgrade: websocket\r\n',
    'Range: bytes=',
    '0\r\n\r\n',
    'ffffffffffffffff\r\n',
    ' HTTP/1.1\r\n',
    ' HTTP/2.0\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n',
    REGISTRY,
    LAYER,
  ],
  open: async (stack) => {
    const host: { registry?: string } = {};
    const fixture = stack.use(
      await MirrorFixture.start({ permit: (registry) => registry === host.registry }),
    );
    host.registry = fixture.registry.host;
    const { layer } = fixture.registry.addImage(NAME, 'v1', Buffer.alloc(5000, 'x'));
    return runAt(fixture, layer);
  },
};

function runAt(fixture: MirrorFixture, layer: string): Run {
  const good = `GET /v2/${NAME}/manifests/v1?ns=${fixture.registry.host} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
  const { port } = new URL(fixture.url);
  let count = 0;
  return async (input, chance) => {
    const text = input
      .toString('latin1')
      .replaceAll(REGISTRY, fixture.registry.host)
      .replaceAll(LAYER, layer);
    await talk(Number(port), Buffer.from(text, 'latin1'), chance);
    if (++count % CHECK_EVERY !== 0) return;
    const answer = parseAnswer(
      (await talk(Number(port), Buffer.from(good), chance, TIMEOUT)).toString('latin1'),
    );
    assert.equal(answer.status, 200, 'a request as it should be is not answered');
    await idle(fixture);
    (fixture.reports as unknown[]).length = 0;
    fixture.registry.server.requests.length = 0;
  };
}

/**
 * Sends the input, waits a little for an answer, and resolves with the bytes that arrive until the other side closes.
 */
async function talk(port: number, bytes: Buffer, chance: Chance, patience = PATIENCE): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true);
  const answer: Buffer[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const late = setTimeout(() => reject(new Error('it neither answers nor closes')), TIMEOUT);
  const leave = (): void => void (chance.oneIn(20) ? socket.resetAndDestroy() : socket.end());
  // node:http does not answer a client that closed its half of the connection.
  const leaving = setTimeout(leave, patience);
  socket.on('data', (part: Buffer) => {
    answer.push(part);
    leaving.refresh();
  });
  socket.on('close', () => resolve());
  socket.on('error', () => undefined); // a reset is an answer, too
  try {
    const parts = chance.oneIn(3) ? [...chance.parts(bytes)].slice(0, 50) : [bytes];
    for (const part of parts) {
      socket.write(part);
      if (chance.oneIn(10)) await new Promise(setImmediate);
    }
    await promise;
    return Buffer.concat(answer);
  } finally {
    clearTimeout(late);
    clearTimeout(leaving);
    socket.destroy();
  }
}

/** Waits until nothing is being served; a request under way may take a moment. */
async function idle(fixture: MirrorFixture): Promise<void> {
  const until = performance.now() + TIMEOUT;
  while (fixture.mirror.active > 0) {
    if (performance.now() > until)
      throw new Error(`${fixture.mirror.active} requests are still being served`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
