/** The asking side of the data plane in byte workers: real threads, a real data port. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { systemClock } from '../../../src/util/clock.ts';
import { isHeld, type HeldChunk } from '../../../src/util/content.ts';
import { isWeirError, type ErrorCode } from '../../../src/util/errors.ts';
import { attest } from '../../../src/protocol/attestation.ts';
import type { Member } from '../../../src/protocol/member.ts';
import { ByteWorkers } from '../../../src/bytes/byte-workers.ts';
import { Files } from '../../../src/bytes/files.ts';
import { PeerClient } from '../../../src/bytes/peer-client.ts';
import type { ChunkAnswer, ChunkSource } from '../../../src/transfer/chunk-exchange.ts';
import { formatAttestation } from '../../../src/transfer/wire-format.ts';
import { DataServer } from '../../../src/transfer/https-server.ts';
import { Progress } from '../../../src/util/progress.ts';
import { httpInside } from '../../support/byte-workers.ts';
import { eventually } from '../../support/eventually.ts';
import { fileOf } from '../../support/file-content.ts';
import {
  askChunk,
  LOOPBACK,
  makeBytes,
  makeNode,
  memberOf,
  Members,
  requestFor,
  serveChunk,
  type Node,
} from '../transfer/fixture.ts';
import { RawPeer } from '../transfer/raw.ts';

const BYTES = makeBytes();
const CHUNK = 1 << 20;
/** Places are numbered from 0; no test takes so many. */
const PLACES = 200;

type Serve = ChunkSource['serve'];

/** Sends 64 KiB of each chunk, and then nothing until `gate` settles. */
function halting(node: Node, gate: Promise<void>, onGone: () => void = () => undefined): Serve {
  return async (_from, request, _acknowledge, signal) => {
    signal.addEventListener('abort', onGone);
    const chunk = serveChunk(BYTES, request, node.identity);
    if (chunk.kind !== 'chunk') return chunk;
    const progress = new Progress();
    progress.advance(chunk.start + (1 << 16));
    void gate.then(() => progress.advance(BYTES.length));
    return { ...chunk, body: { ...fileOf(BYTES), progress: progress.memory } };
  };
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
  let workers: ByteWorkers;
  let files: Files;
  let asking: Node;
  let client: PeerClient;

  beforeEach(() => {
    stack = new AsyncDisposableStack();
    workers = stack.use(new ByteWorkers({ count: 2 }));
    files = new Files(workers);
    asking = makeNode();
    client = makeClient(undefined);
  });

  afterEach(() => stack.disposeAsync());

  function makeClient(maxDownload: number | undefined): PeerClient {
    const { peer: self, tls } = asking;
    return stack.use(new PeerClient({ workers, self, tls, maxDownload }));
  }

  async function startMember(makeServe?: (node: Node) => Serve, maxUpload?: number): Promise<Member> {
    const node = makeNode();
    const members = new Members();
    members.add(memberOf(asking, []));
    const serve: Serve = async (_from, request) => serveChunk(BYTES, request, node.identity);
    const server = stack.use(
      await DataServer.start({
        http: httpInside(),
        listen: [{ host: LOOPBACK, port: 0 }],
        tls: node.tls,
        membership: members,
        server: { serve: makeServe?.(node) ?? serve },
        maxUpload,
        clock: systemClock,
        observer: { refused: () => undefined, served: () => undefined },
      }),
    );
    return memberOf(node, server.addresses);
  }

  /** Starts a request whose events are kept. */
  function begin(member: Member, end = CHUNK, onProgress: () => void = () => undefined) {
    const progressed = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<ChunkAnswer | ErrorCode>();
    const events: string[] = [];
    const request = {
      events,
      bytes: 0,
      progressed: progressed.promise,
      ended: ended.promise,
      cancel: client.fetch(member, requestFor(0, end), {
        connecting: () => void events.push('connecting'),
        sent: () => void events.push('sent'),
        acknowledged: () => void events.push('acknowledged'),
        progressed: (bytes) => {
          events.push('progressed');
          request.bytes += bytes;
          progressed.resolve();
          onProgress();
        },
        answered: (answer) => {
          events.push(answer.kind);
          ended.resolve(answer);
        },
        failed: ({ code }) => {
          events.push(code);
          ended.resolve(code);
        },
      }),
    };
    return request;
  }

  /** Places that are taken in a worker. Their memory is given back by looking. */
  async function takenPlaces(worker: number): Promise<number> {
    const takes = Array.from({ length: PLACES }, (_, place) =>
      files.take({ worker, place, length: 0, hash: new Uint8Array() }),
    );
    const outcomes = await Promise.allSettled(takes);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') assert.ok(isWeirError(outcome.reason, 'internal'));
    }
    return outcomes.filter(({ status }) => status === 'fulfilled').length;
  }

  it('100 chunks of three members at once have the right hashes, and each member has one worker', async () => {
    const members = await Promise.all([startMember(), startMember(), startMember()]);
    const workerOf = new Map<Member, Set<number>>(members.map((member) => [member, new Set()]));
    const asks = Array.from({ length: 100 }, async (_, i) => {
      const member = members[i % members.length] as Member;
      const [start, end] = [i * 10_000, i * 10_000 + 300_000 + i];
      const answer = await askChunk(client, member, requestFor(start, end));
      const chunk = held(answer);
      const expected = BYTES.subarray(start, end);
      assert.equal(chunk.length, expected.length);
      assert.ok(sha256(expected).equals(chunk.hash));
      assert.ok(expected.equals(await files.take(chunk)));
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
    for (const { id } of workers.threads) assert.equal(await takenPlaces(id), 0);
  });

  it('a chunk stays in its worker until it is given back', async () => {
    const member = await startMember();
    const answer = await askChunk(client, member, requestFor(0, CHUNK));
    const { worker } = held(answer);
    answer.release?.();
    answer.release?.();
    assert.equal(await takenPlaces(worker), 0);
    await askChunk(client, member, requestFor(0, CHUNK));
    assert.equal(await takenPlaces(worker), 1);
  });

  it('a whole blob comes to this thread, and nothing stays in the worker', async () => {
    const answer = await askChunk(client, await startMember(), requestFor());
    assert.ok(answer.bytes instanceof Uint8Array && BYTES.equals(answer.bytes));
    for (const { id } of workers.threads) assert.equal(await takenPlaces(id), 0);
  });

  it('a request that is cancelled in mid-chunk has no event any more, and keeps no memory', async () => {
    const gate = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<void>();
    const request = begin(await startMember((node) => halting(node, gate.promise, gone.resolve)));
    await request.progressed;
    const before = [...request.events];
    request.cancel();
    await gone.promise; // the worker has closed the connection
    gate.resolve();
    for (const { id } of workers.threads) assert.equal(await takenPlaces(id), 0);
    assert.deepEqual(request.events, before);
  });

  it('a chunk that arrives for a request that was just cancelled is given back', async () => {
    const member = await startMember();
    const request = begin(member, 1000, () => request.cancel());
    await request.progressed;
    const next = await askChunk(client, member, requestFor(0, 1000)); // its answer comes behind the other
    next.release?.();
    for (const { id } of workers.threads) assert.equal(await takenPlaces(id), 0);
    assert.deepEqual(request.events, ['connecting', 'sent', 'acknowledged', 'progressed']);
  });

  it('a worker that ends in mid-chunk cuts its own requests only, and they can be asked again', async () => {
    const gate = Promise.withResolvers<void>();
    const makeServe = (node: Node): Serve => halting(node, gate.promise);
    const members = await Promise.all([startMember(makeServe), startMember(makeServe)]);
    const requests = members.map((member) => ({ member, request: begin(member) }));
    await Promise.all(requests.map(({ request }) => request.progressed));
    const [killed, kept] = workers.threads;
    assert.ok(killed !== undefined && kept !== undefined);
    await killed.kill();
    const { member: cut, code } = await Promise.race(
      requests.map(async ({ member, request }) => ({ member, code: await request.ended })),
    );
    assert.equal(code, 'worker_lost');
    gate.resolve();
    const chunk = held(await askChunk(client, cut, requestFor(0, CHUNK)));
    assert.ok(sha256(BYTES.subarray(0, CHUNK)).equals(chunk.hash));
    assert.notEqual(chunk.worker, killed.id);
    await files.take(chunk);
    const answer = await requests.find(({ member }) => member !== cut)?.request.ended;
    assert.ok(typeof answer === 'object');
    assert.equal(held(answer).worker, kept.id);
    await files.take(held(answer));
    assert.equal(workers.threads.length, 2);
    for (const { id } of workers.threads) assert.equal(await takenPlaces(id), 0);
  });

  it('a member is free for any worker again once its last connection has closed', async () => {
    const node = makeNode();
    const { swarm } = requestFor(0, 10);
    const hash = new Uint8Array(32);
    const attested = attest(node.identity, swarm, 10, { index: 0, hash, verified: true });
    const head = `Content-Length: 10\r\nContent-Range: bytes 0-9/10\r\nWeir-Statement: ${formatAttestation(attested)}`;
    let more = '';
    const peer = stack.use(
      await RawPeer.start(
        node,
        (socket) => void socket.write(`HTTP/1.1 206 X\r\n${head}\r\n${more}\r\n0123456789`),
      ),
    );
    const workerNow = async (): Promise<number> =>
      held(await askChunk(client, peer.member, requestFor(0, 10))).worker;
    const first = await workerNow();
    for (let i = 0; i < 5; i++) assert.equal(await workerNow(), first);
    assert.equal(peer.connections, 1);
    more = 'Connection: close\r\n';
    await eventually(async () => assert.notEqual(await workerNow(), first));
  });

  it('bytes that come are reported some 20 times a second, and all of them', async () => {
    const member = await startMember(undefined, 2 << 20);
    const began = performance.now();
    const request = begin(member);
    assert.ok(typeof (await request.ended) === 'object');
    const took = performance.now() - began;
    const reported = request.events.filter((event) => event === 'progressed').length;
    assert.equal(request.bytes, CHUNK);
    assert.ok(reported > 3 && reported <= took / 50 + 2, `${reported} reports in ${took} ms`);
  });

  it('the limit on downloads holds for all workers together', async () => {
    const RATE = 4 << 20;
    await client[Symbol.asyncDispose]();
    client = makeClient(RATE);
    const members = await Promise.all([startMember(), startMember()]);
    const began = performance.now();
    const answers = await Promise.all(
      [0, 1, 0, 1].map((i) => askChunk(client, members[i] as Member, requestFor(0, CHUNK))),
    );
    const seconds = (performance.now() - began) / 1000;
    assert.equal(new Set(answers.map((answer) => held(answer).worker)).size, 2);
    const least = (4 * CHUNK) / RATE - 0.2; // the burst, and the bytes that the kernel has read ahead
    assert.ok(seconds > least, `${seconds} s`);
  });
});
