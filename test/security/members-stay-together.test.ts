/**
 * An attacker's registry tells each member something else. No member may hold that against another one: afterwards they
 * share the images of other registries as before.
 */
import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { KIB, MIB, MINUTE, SECOND } from '../../src/util/clock.ts';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { ATTACK_NEEDS, AttackScene } from '../support/attack-scene.ts';
import { seededBytes } from '../support/bytes.ts';
import type { Answer } from '../support/client.ts';
import { requires } from '../support/requires.ts';

const NODES = 3;
const LAYER = 8 * MIB;
const BLOB = 2 * MIB;
/** Share of the first chunk that is sent, so that it is not begun anew. */
const LARGER_PART = 100 * KIB;
/** Milliseconds between the answers to the two nodes that fetch one chunk. */
const BETWEEN = SECOND / 2;

interface Asked {
  readonly method: string | undefined;
  /** The node that asks. */
  readonly via: string;
  /** Bounds of the range; the whole blob if it has no end. */
  readonly start: number;
  readonly end: number | undefined;
}

/** The registry's answer instead of `right`; undefined: the test answers itself. */
type Deceit = (asked: Asked, right: Buffer, response: ServerResponse) => Buffer | undefined;

requires(...ATTACK_NEEDS)('a registry of an attacker does not part members', function () {
  this.timeout(2 * MINUTE);
  let scene: AttackScene;
  /** Deceits by the path of the blob. */
  const deceits = new Map<string, { readonly bytes: Buffer; readonly deceit: Deceit }>();

  before(async () => {
    scene = await AttackScene.start({ nodes: NODES, layer: LAYER });
    scene.evil.handler = (request, response) => answer(request, response);
  });

  after(async () => {
    await scene[Symbol.asyncDispose]();
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const found = deceits.get(request.url ?? '');
    if (found === undefined) return void response.writeHead(404).end();
    const { bytes, deceit } = found;
    const [, start, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
    const asked = {
      method: request.method,
      via: String(request.headers['weir-via']),
      start: Number(start ?? 0),
      end: last === undefined || last === '' ? undefined : Number(last) + 1,
    };
    const given = deceit(asked, bytes, response);
    if (given !== undefined) send(asked, given, response);
  }

  /** All nodes pull a blob of the attacker's at once. */
  async function pullFromEvil(seed: string, size: number, deceit: Deceit): Promise<readonly Answer[]> {
    const bytes = seededBytes(size, seed);
    const path = `x/y/blobs/${digestOf(bytes)}`;
    deceits.set(`/v2/${path}`, { bytes, deceit });
    return Promise.all(scene.cluster.nodes.map((node) => scene.asAttacker(path, node)));
  }

  async function assertTogether(): Promise<void> {
    const suspicions = await scene.cluster.metric('weir_peer_suspicions_total');
    assert.equal(suspicions, 0, await scene.cluster.account());
    for (const node of scene.cluster.nodes) {
      const { suspects, cluster } = await node.status();
      assert.deepEqual(suspects, []);
      assert.equal(cluster.members, NODES);
      assert.ok(!node.log.includes('peer_protocol'), 'a member was taken for one that breaks the protocol');
    }
  }

  /** All pull an image of an honest registry, which nobody has pulled yet; it leaves that registry about once. */
  async function assertShares(): Promise<void> {
    const { image, registry } = scene;
    registry.accessLog.clear();
    await Promise.all(scene.cluster.nodes.map((node) => scene.victimPulls(node)));
    await registry.accessLog.settled();
    const left = registry.accessLog.bytes('/blobs/') / image.blobs.reduce((sum, { size }) => sum + size, 0);
    assert.ok(left < 1.5, `${left.toFixed(2)} images have left the honest registry`);
    await assertTogether();
  }

  it('though it gives each of them other bytes for one chunk', async () => {
    // It sends the larger part of the first chunk. When a second node asks for the chunk, it sends that one all, and the
    // first one the rest a moment later: the attestation of the second node then contradicts the bytes of the first.
    const waiting = new Map<string, () => void>();
    const answers = await pullFromEvil('others', BLOB, (asked, right, response) => {
      const bytes = wrongFor(asked.via, right);
      const { start, end = BLOB } = asked;
      if (asked.method === 'HEAD' || start > 0 || end >= BLOB) return bytes;
      response.writeHead(206, { 'content-length': end, 'content-range': `bytes 0-${end - 1}/${BLOB}` });
      const finish = trickle(response, bytes.subarray(0, end));
      if (waiting.size < 2) waiting.set(asked.via, finish);
      else finish();
      if (waiting.size === 2) void release([...waiting.values()].toReversed());
      return undefined;
    });
    for (const { status, body } of answers) assert.ok(status !== 200 || body.length < BLOB);
    assert.ok(waiting.size > 1, 'only one node has asked for the first chunk');
    await assertTogether();
  });

  it('though it gives wrong bytes first, and right ones to nodes that ask again', async () => {
    const isChunk = ({ end }: Asked, size: number): boolean => end !== undefined && end < size;
    const wrong = new Set<string>();
    const answers = await pullFromEvil('again', 4 * MIB, (asked, right) => {
      if (asked.method === 'HEAD' || !isChunk(asked, right.length)) return right;
      wrong.add(asked.via);
      return wrongFor(asked.via, right);
    });
    assert.ok(wrong.size > 1, 'the nodes did not fetch together');
    const whole = answers.filter(({ status, body }) => status === 200 && body.length === 4 * MIB);
    assert.ok(whole.length > 0, 'nobody got the right bytes in the end');
    await assertTogether();
  });

  it('though it tells each of them another size', async () => {
    const sizes = new Map<string, number>();
    await pullFromEvil('sizes', 4 * MIB, ({ via, method }, right) => {
      const size = sizes.get(via) ?? 3 * MIB + sizes.size * 300 * KIB;
      sizes.set(via, size);
      return method === 'HEAD' ? right.subarray(0, size) : wrongFor(via, right).subarray(0, size);
    });
    assert.ok(sizes.size === NODES, 'some node has not asked for the size');
    await assertTogether();
  });

  it('and they share the images of other registries as before', () => assertShares());
});

/** Writes all but the end of the first chunk, byte by byte at last. @returns a function that writes the rest */
function trickle(response: ServerResponse, bytes: Buffer): () => void {
  let sent = LARGER_PART;
  response.write(bytes.subarray(0, sent));
  const timer = setInterval(() => void response.write(bytes.subarray(sent, ++sent)), BETWEEN);
  response.on('close', () => clearInterval(timer));
  return () => {
    clearInterval(timer);
    response.end(bytes.subarray(sent));
  };
}

async function release(answers: readonly (() => void)[]): Promise<void> {
  for (const give of answers) {
    give();
    await delay(BETWEEN);
  }
}

function send({ start, end, method }: Asked, bytes: Buffer, response: ServerResponse): void {
  if (response.headersSent) return;
  const part = bytes.subarray(start, end);
  const range = `bytes ${start}-${start + part.length - 1}/${bytes.length}`;
  const isPart = end !== undefined || start > 0;
  const status = part.length === 0 ? 416 : isPart ? 206 : 200;
  response.writeHead(status, { 'content-length': part.length, ...(isPart && { 'content-range': range }) });
  response.end(method === 'HEAD' ? undefined : part);
}

/** Bytes that differ from node to node. */
function wrongFor(via: string, right: Buffer): Buffer {
  const digest: Digest = digestOf(Buffer.from(via));
  const mask = Buffer.from(digest.slice('sha256:'.length), 'hex');
  const wrong = Buffer.from(right);
  for (let at = 0; at < wrong.length; at += KIB)
    wrong[at] = (wrong[at] ?? 0) ^ ((mask[(at / KIB) % mask.length] ?? 0) | 1);
  return wrong;
}
