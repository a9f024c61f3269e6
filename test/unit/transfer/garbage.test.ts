/** 20,000 random and truncated requests at the data port: no crash, no byte for strangers, memory bounded. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import * as fc from 'fast-check';
import { MIB } from '../../../src/util/clock.ts';
import type { Address } from '../../../src/protocol/member.ts';
import { HeadReader } from '../../../src/transfer/answer-head.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { parseRequest } from '../../../src/transfer/chunk-requests.ts';
import { parseAttestation } from '../../../src/transfer/wire-format.ts';
import { heldBytes } from '../../support/memory.ts';
import { askChunk, requestFor, Scene } from './fixture.ts';
import { rawSocket, requestText, type RawOptions } from './raw.ts';

/** Requests at one time: as many as one member may have connections. */
const LANES = 8;

const METHODS = ['GET', 'GET', 'GET', 'HEAD', 'POST', 'CONNECT', 'OPTIONS', 'get', ''];
const HEADERS = [
  'Range',
  'Weir-Home',
  'Weir-Size',
  'Authorization',
  'Content-Length',
  'Transfer-Encoding',
  'Expect',
  'Upgrade',
  'Host',
  'Weir-Peer',
  'Connection',
];
const VALUES = [
  'bytes=0-99',
  'bytes=99-0',
  'chunked',
  '5',
  '-1',
  '100-continue',
  'h2c',
  'a/b',
  'Bearer x',
  'Basic x',
  'close',
  '\0',
  'é',
  'x'.repeat(3000),
];

/** The same garbage in each run (mulberry32), so that a failure can be repeated. */
let state = 20_000;
function random(): number {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}

const below = (limit: number): number => Math.floor(random() * limit);
const pick = <T>(from: readonly T[]): T => from[below(from.length)] as T;

/** Random bytes, a valid request with bytes changed or cut off, or one put together from parts. */
function garbage(name: string): Buffer {
  const kind = random();
  if (kind < 0.3) return Buffer.from(Array.from({ length: 1 + below(2000) }, () => below(256)));
  if (kind < 0.6) {
    const bytes = Buffer.from(requestText(`${name}Weir-Home: a/b\r\nAuthorization: Bearer abc\r\n`));
    for (let i = below(4); i >= 0; i--) {
      bytes[below(bytes.length)] = below(256);
    }
    return bytes.subarray(0, 1 + below(bytes.length));
  }
  const headers = Array.from({ length: below(6) }, () => `${pick(HEADERS)}: ${pick(VALUES)}\r\n`);
  const target = pick([
    '/',
    '*',
    requestText().split(' ')[1] ?? '',
    `/weir/1/blobs/${'%41'.repeat(50)}?registry=x`,
  ]);
  return Buffer.from(`${pick(METHODS)} ${target} HTTP/1.1\r\n${name}${headers.join('')}\r\n`, 'latin1');
}

interface Thrown extends RawOptions {
  /** Header line with the sender's peer ID if there is no TLS; a valid request is sent first then. */
  readonly name?: string;
}

/** Sends garbage once and hangs up. @returns the status lines that came back */
async function throwAt(address: Address, options: Thrown): Promise<readonly string[]> {
  const socket = rawSocket(address, options);
  let answer = '';
  socket.on('data', (bytes: Buffer) => (answer += bytes.toString('latin1')));
  const { name = '' } = options;
  socket.end(Buffer.concat([Buffer.from(name && requestText(name)), garbage(name)]));
  socket.setTimeout(3000, () => socket.destroy());
  if (!socket.closed) await once(socket, 'close').catch(() => undefined);
  return answer === '' ? [] : (answer.match(/HTTP\/1\.[01] \d{3}/g) ?? ['no HTTP']);
}

async function bombard(count: number, address: Address, options: Thrown): Promise<readonly string[]> {
  const answers = new Set<string>();
  let left = count;
  const lanes = Array.from({ length: LANES }, async () => {
    while (left-- > 0) for (const status of await throwAt(address, options)) answers.add(status);
  });
  await Promise.all(lanes);
  return [...answers].toSorted();
}

/** Statuses that a member's garbage may get; some of it is a valid request. */
const EXPECTED: ReadonlySet<string> = new Set([
  'HTTP/1.1 200',
  'HTTP/1.1 206',
  'HTTP/1.1 400',
  'HTTP/1.1 405',
]);

const at = (scene: Scene): Address => scene.member.dataAddresses[0] ?? { host: '', port: 0 };

async function survives(scene: Scene, work: () => Promise<void>): Promise<void> {
  const before = heldBytes();
  await work();
  while (scene.server.connections > 0) await new Promise(setImmediate);
  const grown = heldBytes() - before;
  assert.ok(grown < 100 * MIB, `${Math.round(grown / MIB)} MiB more`);
  await askChunk(scene.client, scene.member, requestFor(0, 1_000_000));
}

function assertExpected(statuses: readonly string[]): void {
  const others = statuses.filter((status) => !EXPECTED.has(status));
  assert.deepEqual(others, []);
  assert.ok(statuses.includes('HTTP/1.1 400'));
}

describe('garbage at the data port', function () {
  this.timeout(120_000);

  it('without TLS, from strangers (9,000) and from a member (8,000)', async () => {
    await using scene = await Scene.start({ isSecure: false });
    await survives(scene, async () => {
      assert.deepEqual(await bombard(9000, at(scene), { isSecure: false }), []);
      const owned = { isSecure: false, name: `Weir-Peer: ${scene.asking.peer}\r\n` };
      assertExpected(await bombard(8000, at(scene), owned));
    });
  });

  it('with TLS, from strangers (1,500 without TLS, 500 with it) and from a member (1,000)', async () => {
    await using scene = await Scene.start();
    await survives(scene, async () => {
      assert.deepEqual(await bombard(1500, at(scene), { isSecure: false }), ['no HTTP']); // an alert of TLS
      assert.deepEqual(await bombard(500, at(scene), {}), []);
      assertExpected(await bombard(1000, at(scene), { node: scene.asking }));
    });
  });
});

describe('parsers of the data plane', () => {
  it('accept or refuse any bytes, and throw no other error', () => {
    const header = fc.oneof(fc.string(), fc.constantFrom(...VALUES));
    fc.assert(
      fc.property(
        fc.string(),
        fc.dictionary(fc.constantFrom(...HEADERS.map((h) => h.toLowerCase())), header),
        (url, headers) => {
          parseRequest({ method: 'GET', url, headers });
          parseRequest({ method: 'GET', url: `/weir/1/blobs/${url}`, headers });
        },
      ),
    );
    fc.assert(fc.property(fc.string(), (text) => void parseAttestation(text)));
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 3000 })), (parts) => {
        const reader = new HeadReader();
        try {
          for (const part of parts) if (reader.read(Buffer.from(part)) !== undefined) return;
        } catch (error) {
          assert.ok(isWeirError(error, 'peer_protocol'));
        }
      }),
    );
  });

  it('refuse a head that is full of spaces just as fast', () => {
    for (const line of [
      `a:${' '.repeat(4000)}\x01`,
      `a:${' '.repeat(4000)}`,
      `a: \t ${'x '.repeat(2000)}\x01`,
    ]) {
      const start = performance.now();
      try {
        new HeadReader().read(Buffer.from(`HTTP/1.1 200 OK\r\n${line}\r\n\r\n`));
      } catch (error) {
        assert.ok(isWeirError(error, 'peer_protocol'));
      }
      const took = performance.now() - start;
      assert.ok(took < 1000, `${took.toFixed(0)} ms`);
    }
  });
});
