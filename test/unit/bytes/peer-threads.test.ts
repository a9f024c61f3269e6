/** The peer wire in byte workers: real threads, which listen on one port and share limits. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { ByteWorkers } from '../../../src/bytes/byte-workers.ts';
import { encodeSwarmMessage } from '../../../src/protocol/codec.ts';
import type { ChunkAnswer, ChunkSource, ServedChunk } from '../../../src/transfer/chunk-exchange.ts';
import { encodeFrame, KIND } from '../../../src/transfer/frames.ts';
import { isHeld, type HeldChunk } from '../../../src/util/content.ts';
import { Progress } from '../../../src/util/progress.ts';
import { eventually } from '../../support/eventually.ts';
import { fileOf } from '../../support/file-content.ts';
import {
  exchangeRaw,
  helloFrame,
  makeNode,
  memberOf,
  RawConnection,
  type Node,
} from '../../support/raw-peer.ts';
import {
  ask,
  askChunk,
  begin,
  makeBytes,
  messageOf,
  requestFor,
  serveChunk,
  takenPlaces,
  WireNode,
  type WireNodeOptions,
} from './peer-scene.ts';

const BYTES = makeBytes();
const CHUNK = 1 << 20;

type Serve = ChunkSource['serve'];
type Chunk = Extract<ServedChunk, { kind: 'chunk' }>;

/** Serves chunks of {@link BYTES} that are changed by the test. */
function changed(change: (chunk: Chunk) => Partial<Chunk>, { identity } = makeNode()): Serve {
  return async (_from, request) => {
    const chunk = serveChunk(BYTES, request, identity);
    return { ...chunk, ...change(chunk) };
  };
}

/** Sends 64 KiB of each chunk, and then nothing until `gate` settles. */
function halting(gate: Promise<void>): Serve {
  return changed(({ start }) => {
    const progress = new Progress();
    progress.advance(start + (1 << 16));
    void gate.then(() => progress.advance(BYTES.length));
    return { body: { ...fileOf(BYTES), progress: progress.memory } };
  });
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

function held(answer: ChunkAnswer): HeldChunk {
  assert.ok(answer.kind === 'chunk' && isHeld(answer.bytes));
  return answer.bytes;
}

describe('byte workers: peers', () => {
  let stack: AsyncDisposableStack;
  /** With two workers. */
  let node: WireNode;

  beforeEach(() => {
    stack = new AsyncDisposableStack();
  });

  afterEach(() => stack.disposeAsync());

  async function start(options: WireNodeOptions = {}): Promise<WireNode> {
    node = stack.use(await WireNode.start({ workers: new ByteWorkers({ count: 2 }), ...options }));
    return node;
  }

  /** Another member, which knows the node and is known to it. */
  async function startMember(options: WireNodeOptions = {}): Promise<WireNode> {
    const member = stack.use(await WireNode.start(options));
    member.knows(node);
    node.knows(member);
    return member;
  }

  /** A connection of a member that is a raw peer. */
  function open(member: Node): Promise<RawConnection> {
    node.members.add(memberOf(member, []));
    return RawConnection.open(node.address, { node: member });
  }

  it('100 chunks of three members at once have the right hashes, and each member has one worker', async () => {
    await start();
    const members = await Promise.all([startMember(), startMember(), startMember()]);
    const workerOf = new Map<WireNode, Set<number>>(members.map((member) => [member, new Set()]));
    const asks = Array.from({ length: 100 }, async (_, i) => {
      const member = members[i % members.length] ?? assert.fail();
      const [from, to] = [i * 10_000, i * 10_000 + 300_000 + i];
      const answer = await askChunk(node, member, requestFor(from, to));
      const chunk = held(answer);
      const expected = BYTES.subarray(from, to);
      assert.equal(chunk.length, expected.length);
      assert.ok(sha256(expected).equals(chunk.hash));
      assert.ok(expected.equals(await node.read(chunk)));
      answer.release?.();
      workerOf.get(member)?.add(chunk.worker);
    });
    await Promise.all(asks);
    const used = [...workerOf.values()].map((ids) => Array.from(ids));
    assert.deepEqual(
      used.map((ids) => ids.length),
      [1, 1, 1],
    );
    assert.equal(new Set(used.flat()).size, 2);
    assert.equal(await takenPlaces(node), 0);
  });

  it('a chunk stays in its worker until it is given back', async () => {
    await start();
    const member = await startMember();
    const answer = await askChunk(node, member, requestFor(0, CHUNK));
    answer.release?.();
    answer.release?.();
    assert.equal(await takenPlaces(node), 0);
    await askChunk(node, member, requestFor(0, CHUNK));
    assert.equal(await takenPlaces(node), 1);
  });

  it('a whole blob comes to this thread, and nothing stays in the worker', async () => {
    await start();
    const answer = await askChunk(node, await startMember(), requestFor());
    assert.ok(answer.bytes instanceof Uint8Array && BYTES.equals(answer.bytes));
    assert.equal(await takenPlaces(node), 0);
  });

  it('serve many members at once, whichever worker has their connections, and count those of a member over all', async () => {
    await start();
    const members = await Promise.all(Array.from({ length: 12 }, () => startMember()));
    const answers = await Promise.all(
      members.map((member, i) => askChunk(member, node, requestFor(i, i + CHUNK))),
    );
    for (const [i, { bytes }] of answers.entries()) {
      const expected = BYTES.subarray(i, i + CHUNK);
      assert.ok(expected.equals((await members[i]?.read(bytes)) ?? Buffer.alloc(0)));
    }
    assert.ok(node.reports.every(({ bytes, error }) => bytes === CHUNK && error === undefined));
    const raw = makeNode();
    const opened = await Promise.all([1, 2, 3, 4].map(() => open(raw)));
    assert.equal((await exchangeRaw(node.address, helloFrame(raw.peer), { node: raw })).length, 0);
    assert.deepEqual(node.refusals, ['too-many']);
    for (const { socket } of opened) socket.destroy();
    await eventually(() => assert.equal(node.wire.connections, 12));
  });

  it('a worker that ends cuts its own requests only, blames nobody, and they can be asked again', async () => {
    await start();
    const gate = Promise.withResolvers<void>();
    const serve = halting(gate.promise);
    const members = await Promise.all([startMember({ serve }), startMember({ serve })]);
    const requests = members.map((member) => ({
      member,
      request: begin(node, member, requestFor(0, CHUNK)),
    }));
    await Promise.all(requests.map(({ request }) => request.first));
    const [killed, kept] = node.workers.threads;
    assert.ok(killed !== undefined && kept !== undefined);
    await killed.kill();
    const { member: cut, outcome } = await Promise.race(
      requests.map(async ({ member, request }) => ({ member, outcome: await request.ended })),
    );
    assert.equal(outcome.error?.code, 'worker_lost');
    gate.resolve();
    const again = held(await askChunk(node, cut, requestFor(0, CHUNK)));
    assert.ok(sha256(BYTES.subarray(0, CHUNK)).equals(again.hash));
    assert.notEqual(again.worker, killed.id);
    await node.read(again);
    const other = await requests.find(({ member }) => member !== cut)?.request.ended;
    assert.ok(other?.answer !== undefined);
    assert.equal(held(other.answer).worker, kept.id);
    await node.read(held(other.answer));
    assert.equal(await takenPlaces(node), 0);
    assert.deepEqual([node.unreachable, node.broken, node.gone], [[], [], []]);
  });

  it('a worker that ends cuts the connections that it served, and another listens in its place', async () => {
    const closed: boolean[] = [];
    const gate = Promise.withResolvers<void>();
    const serve = halting(gate.promise);
    await start({
      serve: async (...args) => ({
        ...((await serve(...args)) as Chunk),
        close: (sent) => void closed.push(sent),
      }),
    });
    const members = await Promise.all(Array.from({ length: 8 }, () => startMember()));
    const asked = members.map((member) => begin(member, node, requestFor(0, CHUNK)));
    await Promise.all(asked.map(({ first }) => first));
    await Promise.all([...node.workers.threads].map((thread) => thread.kill()));
    for (const { ended } of asked) assert.equal((await ended).error?.code, 'peer_cut');
    await eventually(() => assert.equal(closed.length, 8));
    assert.equal(closed.includes(true), false);
    assert.ok(node.reports.every(({ error }) => error?.code === 'worker_lost'));
    assert.deepEqual([node.broken, node.unreachable], [[], []]);
    gate.resolve();
    const [member] = members;
    await eventually(async () => {
      assert.ok(member !== undefined);
      const { answer } = await ask(member, node, requestFor(0, 10));
      assert.equal(answer?.kind, 'chunk');
    });
  });

  it('bytes that come are reported some 20 times a second, and all of them', async () => {
    await start();
    const member = await startMember({ rates: { maxUpload: 2 << 20 } });
    const reports: number[] = [];
    const began = performance.now();
    const { promise, resolve, reject } = Promise.withResolvers<ChunkAnswer>();
    node.wire.fetch(member, requestFor(0, CHUNK), {
      connecting: () => undefined,
      sent: () => undefined,
      acknowledged: () => undefined,
      progressed: (bytes) => void reports.push(bytes),
      answered: resolve,
      failed: reject,
    });
    assert.equal((await promise).kind, 'chunk');
    const took = performance.now() - began;
    assert.equal(
      reports.reduce((sum, bytes) => sum + bytes),
      CHUNK,
    );
    assert.ok(
      reports.length > 3 && reports.length <= took / 50 + 2,
      `${reports.length} reports in ${took} ms`,
    );
  });

  it('the limit on downloads holds for all workers together', async () => {
    const RATE = 4 << 20;
    await start({ rates: { maxDownload: RATE } });
    const members = await Promise.all([startMember(), startMember()]);
    const began = performance.now();
    const answers = await Promise.all(
      [...members, ...members].map((member) => askChunk(node, member, requestFor(0, CHUNK))),
    );
    const seconds = (performance.now() - began) / 1000;
    assert.equal(new Set(answers.map((answer) => held(answer).worker)).size, 2);
    const least = (4 * CHUNK) / RATE - 0.2; // the burst, and the bytes that the kernel has read ahead
    assert.ok(seconds > least, `${seconds} s`);
  });

  it('the limit on uploads holds for all workers together', async () => {
    await start({ rates: { maxUpload: 8 * CHUNK } });
    const members = await Promise.all(Array.from({ length: 4 }, () => startMember()));
    const began = performance.now();
    await Promise.all(members.map((member) => askChunk(member, node, requestFor(0, CHUNK))));
    const seconds = (performance.now() - began) / 1000;
    assert.ok(seconds > 0.4, `4 MiB at 8 MiB/s took ${seconds} s`);
  });

  it('a chunk that is ahead of the prefix is sent, and no byte of it once the blob is fetched anew', async () => {
    const progress = new Progress();
    const body = { ...fileOf(BYTES), progress: progress.memory, heldBack: CHUNK };
    const { generation: presentIn } = progress;
    await start({ serve: changed(() => ({ body, presentIn })) });
    const member = await startMember();
    const { bytes } = await askChunk(member, node, requestFor(0, CHUNK));
    assert.ok(BYTES.subarray(0, CHUNK).equals(await member.read(bytes)));
    progress.restart();
    progress.advance(BYTES.length);
    progress.complete();
    const asked = begin(member, node, requestFor(0, CHUNK));
    assert.equal((await asked.ended).answer?.kind, 'absent');
    assert.equal(asked.bytes.count, 0);
    await eventually(() => assert.equal(node.reports.at(-1)?.error?.code, 'aborted'));
  });

  it('a chunk whose file is to be closed is stopped, and it is told when it is not read any more', async () => {
    const progress = new Progress();
    progress.advance(1000);
    const stop = new AbortController();
    const closed = Promise.withResolvers<boolean>();
    const body = { ...fileOf(BYTES), progress: progress.memory };
    await start({ serve: changed(() => ({ body, stop: stop.signal, close: closed.resolve })) });
    const member = await startMember();
    const asked = begin(member, node, requestFor(0, CHUNK));
    await asked.first;
    stop.abort();
    assert.equal(await closed.promise, false);
    assert.equal((await asked.ended).error?.code, 'peer_cut');
    assert.ok(asked.bytes.count <= 1000);
    assert.equal(node.wire.connections, 1);
  });

  it('messages that come while this thread is busy wait at the peer, and none is lost', async () => {
    await start();
    const raw = await open(makeNode());
    const count = 20_000; // some MiB, far more than may wait for this thread
    const frames = Array.from({ length: count }, (_, i) =>
      encodeFrame(KIND.message, encodeSwarmMessage(messageOf(i))),
    );
    raw.send(...frames);
    for (let busy = 0; busy < 5; busy++) {
      await new Promise(setImmediate);
      // The worker goes on reading meanwhile.
      for (const until = performance.now() + 50; performance.now() < until;);
    }
    await eventually(() => assert.equal(node.messages.length, count));
    assert.deepEqual(
      node.messages,
      Array.from({ length: count }, (_, i) => messageOf(i)),
    );
    raw.socket.destroy();
  });
});
