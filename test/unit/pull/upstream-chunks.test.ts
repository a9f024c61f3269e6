/** Chunks from upstream: bytes that came before a request ended early are not requested again. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ByteWorkers } from '../../../src/bytes/byte-workers.ts';
import { Files } from '../../../src/bytes/files.ts';
import { UpstreamClient } from '../../../src/bytes/upstream-client.ts';
import { KIB, MIB } from '../../../src/util/clock.ts';
import type { ChunkBytes, HeldChunk } from '../../../src/util/content.ts';
import type { WeirError } from '../../../src/util/errors.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';
import { UpstreamChunks } from '../../../src/pull/upstream-chunks.ts';
import { UnfinishedChunks } from '../../../src/pull/unfinished-chunks.ts';
import { ChunkLayout } from '../../../src/protocol/chunk-layout.ts';
import { ReceiveBudget } from '../../../src/util/receive-budget.ts';
import { Upstream } from '../../../src/upstream/upstream.ts';
import { workersInside } from '../../support/byte-workers.ts';
import { seededBytes } from '../../support/bytes.ts';
import { eventually } from '../../support/eventually.ts';
import { HttpServer } from '../../support/http-server.ts';
import { actAtTurn } from '../../support/turns.ts';

const BYTES = seededBytes(MIB);
const LAYOUT = new ChunkLayout(BYTES.length);
const STEP = 20 * KIB;

interface Asked {
  readonly start: number;
  readonly end: number;
}

/** The outcome of one request. */
interface Got {
  readonly chunks: Map<number, Uint8Array>;
  readonly ended: Promise<WeirError | undefined>;
  readonly cancel: () => void;
}

/** A clock that leaves no time to resume a body that broke off: the policy tries again. */
function impatientClock() {
  let now = 0;
  return {
    now: Date.now,
    monotonic: () => (now += 10_000),
    sleep: async () => undefined,
    random: () => 0,
  };
}

class Scene implements AsyncDisposable {
  readonly asked: Asked[] = [];
  readonly workers: ByteWorkers = workersInside();
  readonly files: Files;
  readonly unfinished: UnfinishedChunks;
  readonly room: ReceiveBudget;
  /** Whether it was held up (true) or went on, in order. */
  readonly held: boolean[] = [];
  /** Bytes that have come. */
  progressed = 0;
  /** Bytes that a request gets before the registry hangs, or breaks off. */
  allowance = Infinity;
  end: 'hang' | 'fail' = 'hang';
  readonly upstream: UpstreamChunks;
  readonly #registry: HttpServer;
  readonly #client: Upstream;

  private constructor(registry: HttpServer, limit: number) {
    this.#registry = registry;
    this.files = new Files(this.workers);
    this.unfinished = new UnfinishedChunks(this.files);
    this.room = new ReceiveBudget({ limit, later: (callback) => void setImmediate(callback) });
    this.#client = new Upstream({
      blobs: new UpstreamClient(this.workers),
      userAgent: 'weir/test',
      environment: {},
      clock: impatientClock(),
    });
    registry.handler = (request, response) => this.#answer(request, response);
    this.upstream = new UpstreamChunks({
      upstream: this.#client,
      request: {
        repository: parseRepository(parseRegistryHost(registry.host), 'a/b'),
        caller: 'configured',
      },
      digest: digestOf(BYTES),
      layout: LAYOUT,
      files: this.files,
      room: this.room,
      unfinished: this.unfinished,
      name: 'this pull',
      signal: new AbortController().signal,
      callers: () => [],
    });
  }

  static async start(limit = 64 * MIB): Promise<Scene> {
    return new Scene(await HttpServer.start(() => undefined), limit);
  }

  #answer({ headers }: IncomingMessage, response: ServerResponse): void {
    const [, first = '0', last = ''] = /^bytes=([0-9]+)-([0-9]*)$/.exec(headers.range ?? '') ?? [];
    const start = Number(first);
    const end = last === '' ? BYTES.length : Number(last) + 1;
    this.asked.push({ start, end });
    const range = { 'content-range': `bytes ${start}-${end - 1}/${BYTES.length}` };
    const isPart = headers.range !== undefined;
    response.writeHead(isPart ? 206 : 200, { 'content-length': end - start, ...(isPart && range) });
    const sent = Math.min(end, start + this.allowance);
    response.write(BYTES.subarray(start, sent));
    if (sent === end) response.end();
    else if (this.end === 'fail') response.socket?.end();
  }

  fetch(first: number, count = 1): Got {
    const chunks = new Map<number, Uint8Array>();
    const taken: Promise<void>[] = [];
    const { promise, resolve } = Promise.withResolvers<WeirError | undefined>();
    const cancel = this.upstream.fetch(first, count, undefined, {
      progressed: (bytes) => void (this.progressed += bytes),
      held: (isHeld) => void this.held.push(isHeld),
      chunk: (index, bytes, release) => {
        const held = heldIn(bytes);
        assert.deepEqual(Buffer.from(held.hash), createHash('sha256').update(chunkAt(index)).digest());
        const take = async (): Promise<void> => void chunks.set(index, await this.files.take(held));
        taken.push(take());
        release(); // told after the question for its bytes
      },
      whole: () => undefined,
      ended: resolve,
    });
    const ended = promise.then(async (error) => {
      await Promise.all(taken);
      return error;
    });
    return { chunks, ended, cancel };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.close();
    await this.workers[Symbol.asyncDispose]();
    await this.#registry[Symbol.asyncDispose]();
  }
}

const chunkAt = (index: number): Buffer => BYTES.subarray(LAYOUT.start(index), LAYOUT.end(index));
const isChunk = (bytes: Uint8Array | undefined, index: number): boolean =>
  bytes !== undefined && chunkAt(index).equals(bytes);

function heldIn(bytes: ChunkBytes): HeldChunk {
  assert.ok('place' in bytes);
  return bytes;
}

describe('UpstreamChunks', () => {
  it('cuts a range into chunks', async () => {
    await using scene = await Scene.start();
    const { chunks, ended } = scene.fetch(2, 3);
    assert.equal(await ended, undefined);
    assert.deepEqual([...chunks.keys()], [2, 3, 4]);
    for (const [index, bytes] of chunks) assert.ok(isChunk(bytes, index));
    assert.equal(scene.progressed, 3 * LAYOUT.chunkSize);
  });

  it('goes on within a chunk whose request was given up, at once', async () => {
    await using scene = await Scene.start();
    scene.allowance = 3 * STEP;
    const first = scene.fetch(1);
    await eventually(() => assert.equal(scene.progressed, 3 * STEP));
    scene.allowance = Infinity;
    first.cancel();
    const second = scene.fetch(1);
    assert.equal(await second.ended, undefined);
    assert.deepEqual(scene.asked[1], { start: LAYOUT.start(1) + 3 * STEP, end: LAYOUT.end(1) });
    assert.ok(isChunk(second.chunks.get(1), 1));
    assert.equal(first.chunks.size, 0);
  });

  it('goes on after several requests were given up, one while it waited for another', async () => {
    await using scene = await Scene.start();
    scene.allowance = 3 * STEP;
    const first = scene.fetch(1);
    await eventually(() => assert.equal(scene.progressed, 3 * STEP));
    first.cancel();
    scene.fetch(1).cancel();
    scene.fetch(1).cancel();
    scene.allowance = Infinity;
    const { chunks, ended } = scene.fetch(1);
    assert.equal(await ended, undefined);
    assert.ok(isChunk(chunks.get(1), 1));
    assert.equal(scene.asked.at(-1)?.start, LAYOUT.start(1) + 3 * STEP);
    assert.equal(scene.asked.length, 2);
  });

  it('goes on at the byte at which the registry broke off', async () => {
    await using scene = await Scene.start();
    scene.allowance = LAYOUT.length(0) + 2 * STEP;
    scene.end = 'fail';
    const first = scene.fetch(0, 3);
    assert.equal((await first.ended)?.code, 'upstream_cut');
    first.cancel(); // too late to matter
    scene.allowance = Infinity;
    const second = scene.fetch(1, 2);
    assert.equal(await second.ended, undefined);
    const { start } = scene.asked[1] ?? { start: 0 };
    assert.ok(start > LAYOUT.start(1) && start < LAYOUT.end(1), `asked for ${start}`);
    for (const index of [1, 2]) assert.ok(isChunk(second.chunks.get(index), index));
  });

  it('keeps no memory of a request that was given up, but its unfinished chunk', async () => {
    await using scene = await Scene.start();
    const { promise, resolve } = Promise.withResolvers<HeldChunk>();
    const leave: () => void = scene.upstream.fetch(0, 2, undefined, {
      progressed: () => undefined,
      held: () => undefined,
      chunk: (_index, bytes, release) => {
        leave(); // the other chunks were left to peers
        release();
        resolve(heldIn(bytes));
      },
      whole: () => undefined,
      ended: () => assert.fail('it was given up'),
    });
    const chunk = await promise;
    await assert.rejects(scene.files.take(chunk), { code: 'internal' }, 'it has given the place back');
    await eventually(() => assert.equal(scene.room.used, 0));
    scene.unfinished.forget('this pull');
    // Places are numbered as they are taken: all earlier ones are free.
    const { place } = await scene.files.hold(Buffer.of(1));
    for (let earlier = 0; earlier < place; earlier++) {
      await assert.rejects(scene.files.take({ ...chunk, place: earlier }), { code: 'internal' });
    }
  });

  it('keeps nothing once the pull is over, also of requests that are being given up', async () => {
    await using scene = await Scene.start();
    scene.allowance = 3 * STEP;
    const [first, second] = [scene.fetch(1), scene.fetch(4)];
    await eventually(() => assert.equal(scene.progressed, 6 * STEP));
    first.cancel();
    await eventually(() => assert.equal(scene.unfinished.bytes, LAYOUT.length(1)));
    second.cancel();
    scene.upstream.close();
    await eventually(() => assert.equal(scene.room.used, 0));
    assert.equal(scene.unfinished.bytes, 0);
    const { place } = await scene.files.hold(Buffer.of(1));
    assert.ok(place >= 2);
    for (let earlier = 0; earlier < place; earlier++) {
      const chunk = { worker: 0, place: earlier, length: 0, hash: Buffer.of() };
      await assert.rejects(scene.files.take(chunk), { code: 'internal' });
    }
  });

  it('reads no further while the node has no room, and says so', async () => {
    const size = LAYOUT.length(0);
    await using scene = await Scene.start(2 * size);
    const releases: (() => void)[] = [];
    const { promise: ended, resolve } = Promise.withResolvers<WeirError | undefined>();
    const held: boolean[] = [];
    scene.upstream.fetch(0, LAYOUT.count, undefined, {
      progressed: () => undefined,
      held: (isHeld) => void held.push(isHeld),
      chunk: (_index, _bytes, release) => void releases.push(release),
      whole: () => undefined,
      ended: resolve,
    });
    for (let written = 0; written < LAYOUT.count; written++) {
      const expected = Math.min(LAYOUT.count, written + 2);
      await eventually(() => assert.equal(releases.length, expected));
      await turns();
      assert.ok(scene.room.used <= 2 * size, `${scene.room.used}`);
      assert.equal(releases.length, expected);
      releases[written]?.();
    }
    assert.equal(await ended, undefined);
    assert.equal(scene.room.used, 0);
    assert.deepEqual(held.slice(0, 3), [true, false, true]);
  });

  it('takes no room for a request that was given up, at whatever turn', async () => {
    const size = LAYOUT.length(0);
    for (let at = 0; at < 40; at++) {
      await using scene = await Scene.start(size);
      const blocked = at % 2 === 0 && scene.room.tryTake(size);
      const { cancel } = scene.fetch(0, 2);
      await actAtTurn(at, cancel, async () => {
        await turns();
        if (blocked) scene.room.give(size);
        await turns();
      });
      cancel();
      await eventually(() => assert.equal(scene.room.used, 0, `given up at turn ${at}`));
    }
  });

  it('begins the chunk anew if the worker that held its beginning has ended', async () => {
    await using scene = await Scene.start();
    scene.allowance = 3 * STEP;
    const first = scene.fetch(1);
    await eventually(() => assert.equal(scene.progressed, 3 * STEP));
    first.cancel();
    await eventually(() => assert.equal(scene.unfinished.bytes, LAYOUT.length(1)));
    await scene.workers.threads[0]?.kill();
    scene.allowance = Infinity;
    assert.equal((await scene.fetch(1).ended)?.code, 'upstream_cut');
    const { chunks, ended } = scene.fetch(1);
    assert.equal(await ended, undefined);
    assert.ok(isChunk(chunks.get(1), 1));
    assert.deepEqual(scene.asked.at(-1), { start: LAYOUT.start(1), end: LAYOUT.end(1) });
  });
});

/** Some turns of the event loop, so that all work goes on that can. */
async function turns(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise(setImmediate);
}
