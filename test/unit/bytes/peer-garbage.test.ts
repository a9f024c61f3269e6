/** 100,000 random, mutated and truncated frames of a member: no crash, no hang, memory bounded, and others are served. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { MIB } from '../../../src/util/clock.ts';
import { encodeSwarmMessage } from '../../../src/protocol/codec.ts';
import { parseRepository } from '../../../src/oci/repository.ts';
import { encodeFrame, KIND, type FrameKind } from '../../../src/transfer/frames.ts';
import { encodeRequest } from '../../../src/transfer/wire-codec.ts';
import { ByteWorkers } from '../../../src/bytes/byte-workers.ts';
import { eventually } from '../../support/eventually.ts';
import { heldBytes } from '../../support/memory.ts';
import {
  acknowledgedFrame,
  answerFrame,
  cancelFrame,
  dataFrame,
  frameOf,
  helloFrame,
  makeNode,
  memberOf,
  RawConnection,
  rawSocket,
  type Node,
} from '../../support/raw-peer.ts';
import { messages } from '../protocol/arbitraries.ts';
import { askChunk, REGISTRY, requestFor, Scene, WireNode } from './peer-scene.ts';

const FRAMES = 100_000;
/** Connections at one time: for each, one before it may not be known to be closed yet, and a member may have 4. */
const LANES = 2;
/** Frames that are written at once. */
const BATCH = 64;

/** The same garbage in each run (mulberry32), so that a failure can be repeated. */
let seed = 20_000;
function random(): number {
  seed = (seed + 0x6d2b79f5) | 0;
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}

const below = (limit: number): number => Math.floor(random() * limit);
const pick = <T>(from: readonly T[]): T => from[below(from.length)] as T;
const noise = (length: number): Buffer => Buffer.from(Array.from({ length }, () => below(256)));

const MESSAGES: readonly Uint8Array[] = fc
  .sample(messages, { seed: 1, numRuns: 50 })
  .map((message) => encodeFrame(KIND.message, encodeSwarmMessage(message)));
const STRANGER = makeNode().peer;
const owner = { repository: parseRepository(REGISTRY, 'a/b').name, token: 'abc', size: 5_000_000 };

/** Frames that break nothing, each time with the number of a request that is new. */
function harmless(next: () => number): Uint8Array {
  const kind = random();
  // Few, so that a connection seldom has more under way than it may.
  if (kind < 0.03) return encodeFrame(KIND.request, encodeRequest(next(), requestFor(0, 1 + below(2000))));
  if (kind < 0.2) return cancelFrame(below(50));
  if (kind < 0.3) return encodeFrame(pick<FrameKind>([KIND.ping, KIND.pong]));
  if (kind < 0.5) return frameOf(13 + below(240), noise(below(40)));
  return pick(MESSAGES);
}

/** Frames that break the protocol, whatever came before. */
function breach(): Uint8Array {
  switch (below(8)) {
    case 0:
      return helloFrame(STRANGER);
    case 1:
      return frameOf(below(13), '', 0xffffff - below(1000));
    case 2:
      return frameOf(KIND.request, Buffer.concat([Buffer.from([0xff]), noise(below(60))]));
    case 3:
      return frameOf(KIND.message, Buffer.concat([Buffer.from([0x07]), noise(below(60))]));
    case 4:
      return answerFrame(below(1000), { kind: 'absent' });
    case 5:
      return dataFrame(below(1000), noise(1 + below(50)));
    case 6:
      return acknowledgedFrame(below(1000));
    default:
      return encodeFrame(
        KIND.request,
        encodeRequest(0, { ...requestFor(below(10), (9 << 20) + below(10)), owner }),
      );
  }
}

/** A valid frame, of which bytes are changed or cut off; it may break the protocol or not. */
function mutated(next: () => number): Buffer {
  const bytes = Buffer.from(harmless(next));
  for (let i = below(4); i >= 0; i--) bytes[below(bytes.length)] = below(256);
  return random() < 0.3 ? bytes.subarray(0, 1 + below(bytes.length)) : bytes;
}

/**
 * Throws frames over one connection until it is closed: at a breach, or when all are thrown.
 * @returns the number of sure breaches, which is 0 or 1
 */
async function bombard(scene: Scene, node: Node, left: () => boolean): Promise<number> {
  const raw = await RawConnection.open(scene.address, { node });
  const state = { isClosed: false };
  void raw.closed.then(() => (state.isClosed = true));
  let id = 0;
  const next = (): number => id++;
  // Half of the connections end with a sure breach, the others when a mutated frame happens to be one.
  const isSure = random() < 0.5;
  let harmlessLeft = 50 + below(300);
  while (!state.isClosed && left()) {
    const batch: Uint8Array[] = [];
    while (batch.length < BATCH && left()) {
      if (isSure && harmlessLeft-- <= 0) break;
      batch.push(isSure || random() < 0.7 ? harmless(next) : mutated(next));
    }
    const isLast = isSure && harmlessLeft < 0;
    raw.send(...batch, ...(isLast ? [breach()] : []));
    if (isLast) {
      await raw.closed; // the other side closes it
      return 1;
    }
    await new Promise(setImmediate);
  }
  raw.socket.end();
  await raw.closed;
  return 0;
}

describe('garbage over the peer wire', function () {
  this.timeout(60_000);

  it('of a member, in 100,000 frames, closes each connection that breaks the protocol, and hurts nobody else', async () => {
    await using scene = await Scene.start();
    const { serving, asking: good } = scene;
    const evil = makeNode();
    serving.members.add(memberOf(evil, []));
    const before = heldBytes();
    const tally = { thrown: 0, sure: 0, served: 0, isOver: false };
    const left = (): boolean => tally.thrown++ < FRAMES;
    const lanes = Array.from({ length: LANES }, async () => {
      while (tally.thrown < FRAMES) {
        const breaches = await bombard(scene, evil, left);
        tally.sure += breaches;
      }
    });
    const pulls = (async () => {
      for (; !tally.isOver; tally.served++) {
        const { release } = await askChunk(good, serving, requestFor(tally.served, 100_000 + tally.served));
        release?.();
      }
    })();
    await Promise.all(lanes);
    tally.isOver = true;
    await pulls;
    const { thrown, sure, served } = tally;
    assert.ok(thrown >= FRAMES);
    assert.ok(served > 20, `${served} chunks for a good member meanwhile`);
    await eventually(() => assert.equal(serving.wire.connections, 1));
    assert.ok(sure > 100, `${sure} sure breaches`);
    // A connection may ask for too much at a time before its breach is read.
    const floods = serving.refusals.filter((reason) => reason === 'too-many').length;
    assert.ok(
      serving.broken.length + floods >= sure,
      `${serving.broken.length} of ${sure} breaches were told`,
    );
    assert.ok(floods < sure / 4, `${floods} floods`);
    assert.deepEqual([...new Set(serving.broken.map(([peer]) => peer))], [evil.peer]);
    // Nothing of the evil member is left: neither a request that is served, nor memory.
    serving.messages.length = serving.senders.length = serving.reports.length = serving.broken.length = 0;
    const grown = heldBytes() - before;
    assert.ok(grown < 200 * MIB, `${Math.round(grown / MIB)} MiB more`);
    assert.deepEqual(good.unreachable, []);
  });

  it('of strangers, in 2,000 connections, gets no byte and no connection', async () => {
    const workers = new ByteWorkers({ count: 1 });
    await using scene = await Scene.start({ isSecure: false, workers });
    await using good = await WireNode.start({ isSecure: false });
    scene.serving.knows(good);
    good.knows(scene.serving);
    let left = 2000;
    let bytes = 0;
    const lanes = Array.from({ length: 20 }, async () => {
      while (left-- > 0) {
        const socket = rawSocket(scene.address, { isSecure: false });
        socket.on('data', (part: Buffer) => void (bytes += part.length));
        const closed = new Promise((resolve) => socket.once('close', resolve));
        socket.end(random() < 0.5 ? noise(1 + below(500)) : Buffer.concat([helloFrame(STRANGER), breach()]));
        await closed;
      }
    });
    await askChunk(good, scene.serving, requestFor(0, 1_000_000));
    await Promise.all(lanes);
    assert.equal(bytes, 0);
    await eventually(() => assert.equal(scene.serving.wire.connections, 1));
    assert.deepEqual([...new Set(scene.serving.refusals)], ['stranger']);
    assert.deepEqual(scene.serving.broken, []);
  });
});
