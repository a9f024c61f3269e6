/** A member floods the DHT of another one with values. No value is kept, and the other one's memory does not grow. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { multiaddr } from '@multiformats/multiaddr';
import { publicKeyFromRaw, publicKeyToProtobuf } from '@libp2p/crypto/keys';
import type { Connection, Stream } from '@libp2p/interface';
import { KIB, MIB, MINUTE, SECOND } from '../../src/util/clock.ts';
import type { Libp2pNode } from '../../src/network/libp2p-node.ts';
import { Identity } from '../../src/protocol/identity.ts';
import { publicKeyOf } from '../../src/protocol/peer-id.ts';
import { startBareNode } from '../support/bare-node.ts';
import { controlAddress, WeirCluster } from '../support/weir-cluster.ts';
import type { WeirNode } from '../support/weir.ts';

const PROTOCOL = '/weir/kad/1.0.0';
const MESSAGES = 80;
/** Bytes by which a node's memory grows anyway while it reads and throws away. */
const MOST = 40 * MIB;
/** Bytes of a message within the limit of all messages. */
const SHORT = 20_000;
/** Bytes that are written at a time. */
const STEP = 64 * KIB;

describe('the DHT of a node', function () {
  this.timeout(MINUTE);
  let cluster: WeirCluster;
  let victim: WeirNode;
  let evil: Libp2pNode;

  before(async () => {
    cluster = await WeirCluster.start(1);
    victim = cluster.node(0);
  });

  after(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  beforeEach(async () => {
    const key = new Uint8Array(await readFile(cluster.keyFile));
    evil = await startBareNode(Identity.generate(), key);
  });

  afterEach(async () => {
    await evil.stop();
  });

  async function connect(): Promise<Connection> {
    const { peer } = await victim.status();
    const [host, port] = controlAddress(victim).split(':');
    return evil.dial(multiaddr(`/ip4/${host}/tcp/${port}/p2p/${peer}`), {
      signal: AbortSignal.timeout(10 * SECOND),
    });
  }

  /** A connection of another member. */
  async function other(): Promise<Connection> {
    await evil.stop();
    evil = await startBareNode(Identity.generate(), new Uint8Array(await readFile(cluster.keyFile)));
    return connect();
  }

  for (const [what, size] of [
    ['of 1 MiB each', MIB],
    ['that are short', SHORT],
  ] as const) {
    it(`keeps no values ${what}`, async () => {
      const before = await residentBytes(victim);
      let last: Uint8Array | undefined;
      for (let sent = 0; sent < (MESSAGES * MIB) / size; sent++) {
        // A sender of a message that is too long is refused for a while.
        last = await putValue(connect, size).catch(() => last);
      }
      const grown = (await residentBytes(victim)) - before;
      assert.ok(grown < MOST, `its memory has grown by ${Math.round(grown / MIB)} MiB`);
      // A question for one of the values gets no answer that holds it.
      assert.ok(last !== undefined, 'nothing was sent');
      const asked = exchange(await other(), message(1, [[2, last]]));
      const answer = await asked.catch(() => Buffer.of());
      assert.ok(answer.length < size, `it has answered with ${answer.length} bytes`);
    });
  }

  it('still answers other messages', async () => {
    // 5: PING
    const answer = await exchange(await connect(), message(5, []));
    assert.deepEqual([...answer].slice(1), [...message(5, [])]);
  });
});

/** A value under the name of a key, with unasked data beside it. @returns the key */
async function putValue(connect: () => Promise<Connection>, size: number): Promise<Uint8Array> {
  const publicKey = publicKeyFromRaw(publicKeyOf(Identity.generate().peer));
  const key = Buffer.concat([Buffer.from('/pk/'), publicKey.toMultihash().bytes]);
  const value = Buffer.concat([publicKeyToProtobuf(publicKey), field(15, Buffer.alloc(size))]);
  const record = Buffer.concat([field(1, key), field(2, value)]);
  const put = message(0, [
    [2, key],
    [3, record],
  ]);
  await exchange(await connect(), put);
  return key;
}

/** Sends a message, and reads until the other side answers, ends, or resets the stream. */
async function exchange(connection: Connection, bytes: Uint8Array): Promise<Buffer> {
  const stream: Stream = await connection.newStream(PROTOCOL);
  const parts: Uint8Array[] = [];
  const over = new AbortController();
  stream.addEventListener('message', ({ data }) => {
    parts.push(data.subarray());
    over.abort();
  });
  stream.addEventListener('close', () => over.abort());
  const limit = AbortSignal.any([over.signal, AbortSignal.timeout(5 * SECOND)]);
  const ended = new Promise((resolve) => limit.addEventListener('abort', resolve));
  const frame = Buffer.concat([varint(bytes.length), bytes]);
  for (let at = 0; at < frame.length && !limit.aborted; at += STEP) {
    const isFull = !stream.send(frame.subarray(at, at + STEP));
    if (isFull) await stream.onDrain({ signal: limit }).catch(() => undefined);
  }
  if (!limit.aborted) await ended;
  stream.abort(new Error('enough'));
  return Buffer.concat(parts);
}

/** kad-dht's message: its kind in field 1, which is left out if it is 0. */
function message(kind: number, fields: readonly (readonly [number, Uint8Array])[]): Buffer {
  const head = kind === 0 ? Buffer.of() : Buffer.of(0x08, kind);
  return Buffer.concat([head, ...fields.map(([number, bytes]) => field(number, bytes))]);
}

function field(number: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.of(...bytes, rest);
}

async function residentBytes({ pid }: WeirNode): Promise<number> {
  const [, kib = ''] = /^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) * 1024;
}
