/** Chunks from upstream: bytes that came before a request ended early are not requested again. */
import assert from 'node:assert/strict';
import { KIB, MIB } from '../../../src/util/clock.ts';
import { WeirError } from '../../../src/util/errors.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';
import { UpstreamChunks } from '../../../src/pull/upstream-chunks.ts';
import { UnfinishedChunks } from '../../../src/pull/unfinished-chunks.ts';
import { ChunkLayout } from '../../../src/protocol/chunk-layout.ts';
import { ReceiveBudget } from '../../../src/util/receive-budget.ts';
import { ChunkBuffers } from '../../../src/transfer/chunk-buffers.ts';
import type { BlobStream } from '../../../src/upstream/upstream.ts';
import { seededBytes } from '../../support/bytes.ts';
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
  readonly chunks: Map<number, Buffer>;
  readonly ended: Promise<WeirError | undefined>;
  readonly cancel: () => void;
}

class Scene {
  readonly asked: Asked[] = [];
  readonly memory = new ChunkBuffers();
  readonly unfinished = new UnfinishedChunks(this.memory);
  readonly room: ReceiveBudget;
  /** Whether it was held up (true) or went on, in order. */
  readonly held: boolean[] = [];
  /** Bytes that a request gets before the registry hangs, or fails. */
  allowance = Infinity;
  end: 'hang' | 'fail' = 'hang';
  reached = Promise.withResolvers<void>();
  readonly upstream: UpstreamChunks;

  constructor(limit = 64 * MIB) {
    this.room = new ReceiveBudget({ limit, later: (callback) => void setImmediate(callback) });
    const open = async function* (scene: Scene, start: number, end: number, signal: AbortSignal) {
      let sent = 0;
      for (let at = start; at < end; at += STEP) {
        if (sent >= scene.allowance) {
          scene.reached.resolve();
          if (scene.end === 'fail') throw new WeirError('upstream_cut', 'it broke off');
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        }
        yield BYTES.subarray(at, Math.min(end, at + STEP));
        sent += STEP;
      }
    };
    this.upstream = new UpstreamChunks({
      upstream: {
        openBlob: (_repository, _digest, options): Promise<BlobStream> => {
          const { start = 0, end = BYTES.length, signal } = options ?? {};
          this.asked.push({ start, end });
          assert.ok(signal);
          return Promise.resolve({ size: BYTES.length, chunks: open(this, start, end, signal) });
        },
      },
      request: {
        repository: parseRepository(parseRegistryHost('registry.test'), 'a/b'),
        caller: 'configured',
      },
      digest: digestOf(BYTES),
      layout: LAYOUT,
      memory: this.memory,
      room: this.room,
      unfinished: this.unfinished,
      name: 'this pull',
      signal: new AbortController().signal,
      callers: () => [],
    });
  }

  fetch(first: number, count = 1): Got {
    const chunks = new Map<number, Buffer>();
    const { promise, resolve } = Promise.withResolvers<WeirError | undefined>();
    const cancel = this.upstream.fetch(first, count, undefined, {
      progressed: () => undefined,
      held: (isHeld) => void this.held.push(isHeld),
      chunk: (index, bytes, release) => {
        assert.ok(bytes instanceof Uint8Array);
        chunks.set(index, Buffer.from(bytes));
        release();
      },
      ended: resolve,
    });
    return { chunks, ended: promise, cancel };
  }
}

const chunkAt = (index: number): Buffer => BYTES.subarray(LAYOUT.start(index), LAYOUT.end(index));

describe('UpstreamChunks', () => {
  it('cuts a range into chunks', async () => {
    const scene = new Scene();
    const { chunks, ended } = scene.fetch(2, 3);
    assert.equal(await ended, undefined);
    assert.deepEqual([...chunks.keys()], [2, 3, 4]);
    for (const [index, bytes] of chunks) assert.ok(bytes.equals(chunkAt(index)));
  });

  it('goes on within a chunk whose request was given up, at once', async () => {
    const scene = new Scene();
    scene.allowance = 3 * STEP;
    const first = scene.fetch(1);
    await scene.reached.promise;
    scene.allowance = Infinity;
    first.cancel();
    const second = scene.fetch(1);
    assert.equal(await second.ended, undefined);
    assert.deepEqual(scene.asked[1], { start: LAYOUT.start(1) + 3 * STEP, end: LAYOUT.end(1) });
    assert.ok(second.chunks.get(1)?.equals(chunkAt(1)));
    assert.equal(first.chunks.size, 0);
  });

  it('goes on at the byte at which the registry broke off', async () => {
    const scene = new Scene();
    scene.allowance = LAYOUT.length(0) + 2 * STEP;
    scene.end = 'fail';
    const first = scene.fetch(0, 3);
    assert.equal((await first.ended)?.code, 'upstream_cut');
    first.cancel(); // too late to matter
    scene.allowance = Infinity;
    const second = scene.fetch(1, 2);
    assert.equal(await second.ended, undefined);
    const { start } = scene.asked[1] ?? { start: 0 };
    assert.ok(start > LAYOUT.start(1) && start < LAYOUT.end(1));
    for (const index of [1, 2]) assert.ok(second.chunks.get(index)?.equals(chunkAt(index)));
  });

  it('writes no byte into memory that it has given back', async () => {
    const scene = new Scene();
    let left: (() => void) | undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    left = scene.upstream.fetch(0, 2, undefined, {
      progressed: () => undefined,
      held: () => undefined,
      chunk: () => {
        left?.(); // the other chunks were left to peers
        resolve();
      },
      ended: () => assert.fail('it was given up'),
    });
    await promise;
    const taken = scene.memory.take(LAYOUT.length(1)).fill(0);
    await new Promise(setImmediate);
    assert.ok(taken.every((byte) => byte === 0));
  });

  it('reads no further while the node has no room, and says so', async () => {
    const size = LAYOUT.length(0);
    const scene = new Scene(2 * size);
    const releases: (() => void)[] = [];
    const { promise: ended, resolve } = Promise.withResolvers<WeirError | undefined>();
    const held: boolean[] = [];
    scene.upstream.fetch(0, LAYOUT.count, undefined, {
      progressed: () => undefined,
      held: (isHeld) => void held.push(isHeld),
      chunk: (_index, _bytes, release) => void releases.push(release),
      ended: resolve,
    });
    for (let written = 0; written < LAYOUT.count; written++) {
      await turns();
      assert.ok(scene.room.used <= 2 * size, `${scene.room.used}`);
      assert.equal(releases.length, Math.min(LAYOUT.count, written + 2));
      releases[written]?.();
    }
    assert.equal(await ended, undefined);
    assert.equal(scene.room.used, 0);
    assert.deepEqual(held.slice(0, 3), [true, false, true]);
  });

  it('takes no room for a request that was given up, at whatever turn', async () => {
    const size = LAYOUT.length(0);
    for (let at = 0; at < 40; at++) {
      const scene = new Scene(size);
      const blocked = at % 2 === 0 && scene.room.tryTake(size);
      const { cancel } = scene.fetch(0, 2);
      await actAtTurn(at, cancel, async () => {
        await turns();
        if (blocked) scene.room.give(size);
        await turns();
      });
      cancel();
      await turns();
      assert.equal(scene.room.used, 0, `given up at turn ${at}`);
    }
  });
});

/** Some turns of the event loop, so that all work goes on that can. */
async function turns(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise(setImmediate);
}
