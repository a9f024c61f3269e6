/** Chunks that are sent over one connection: their order, what comes between them, and how each ends. */
import assert from 'node:assert/strict';
import { BodyBuffers } from '../../../src/bytes/body-buffers.ts';
import { BodyQueue, type ServedOutcome } from '../../../src/bytes/body-queue.ts';
import { ChunkPlaces } from '../../../src/bytes/chunk-places.ts';
import type { ServedPart } from '../../../src/bytes/peers-messages.ts';
import { SendWindow } from '../../../src/bytes/send-window.ts';
import { FrameReader, MAX_DATA_BYTES } from '../../../src/transfer/frames.ts';
import { isWeirError, WeirError } from '../../../src/util/errors.ts';
import { KIB, systemClock } from '../../../src/util/clock.ts';
import { Progress } from '../../../src/util/progress.ts';
import { limitedBy } from '../../../src/util/token-bucket.ts';
import { eventually } from '../../support/eventually.ts';
import { fileOf } from '../../support/file-content.ts';
import { answerFrame } from '../../support/raw-peer.ts';
import { makeBytes } from './peer-scene.ts';

const BYTES = makeBytes();
/** Bytes of a data frame before it is known how fast the link is. */
const FIRST_STEP = 64 * KIB;

/** A queue, and what it sent: heads as `head 0`, data as `0: 262144`. */
class Scene {
  readonly log: string[] = [];
  readonly bytes: Map<number, Buffer[]> = new Map();
  readonly outcomes: Map<number, ServedOutcome> = new Map();
  readonly queue: BodyQueue;
  readonly marks: number[] = [];
  /** Whether the peer returns marks, as it does at once. */
  returns = true;
  readonly window: SendWindow = new SendWindow(
    (id) => {
      this.marks.push(id);
      if (this.returns) setImmediate(() => this.window.returned(id));
    },
    () => performance.now(),
  );
  /** Called for each data frame, before it has left. */
  onWrite: () => Promise<void> = () => Promise.resolve();

  constructor() {
    const head = new FrameReader({
      frame: (_kind, body) => void this.log.push(`head ${body[1] ?? 0}`),
      data: () => assert.fail('data without waiting'),
    });
    const data = new FrameReader({
      frame: () => assert.fail('a frame among data'),
      data: (id, bytes) => {
        this.log.push(`${id}: ${bytes.length}`);
        const parts = this.bytes.get(id) ?? [];
        this.bytes.set(id, parts);
        parts.push(Buffer.from(bytes));
      },
    });
    this.queue = new BodyQueue({
      window: this.window,
      send: (frame) => head.push(Buffer.from(frame)),
      write: async (frame) => {
        data.push(Buffer.from(frame));
        await this.onWrite();
      },
      buffers: new BodyBuffers(),
      places: new ChunkPlaces(),
      limit: () => limitedBy([], systemClock),
      onServed: (id, outcome) => {
        this.log.push(`end ${id}`);
        this.outcomes.set(id, outcome);
      },
    });
  }

  add(id: number, more: Partial<ServedPart> = {}): void {
    const head = answerFrame(id, { kind: 'chunk', size: BYTES.length, attestation: undefined });
    const content = fileOf(BYTES);
    this.queue.add(id, { head, content, start: 0, end: 1000, generation: 0, isPresent: true, ...more });
  }

  async ended(...ids: readonly number[]): Promise<void> {
    await eventually(() => assert.ok(ids.every((id) => this.outcomes.has(id))));
  }

  bytesOf(id: number): Buffer {
    return Buffer.concat(this.bytes.get(id) ?? []);
  }

  get sizes(): readonly number[] {
    return this.log.filter((line) => line.includes(':')).map((line) => Number(line.split(': ')[1]));
  }
}

describe('the queue of chunks to be sent', () => {
  it('sends one after the other, each with its head first', async () => {
    const scene = new Scene();
    scene.add(1, { end: 600_000 });
    scene.add(2, { start: 5, end: 300_005 });
    scene.add(3, { content: BYTES, start: 10, end: 100_010 });
    assert.equal(scene.queue.isEmpty, false);
    await scene.ended(1, 2, 3);
    const steps = (id: number, length: number): readonly string[] => {
      const sizes = scene.log.filter((line) => line.startsWith(`${id}: `));
      assert.equal(
        sizes.reduce((sum, line) => sum + Number(line.split(': ')[1]), 0),
        length,
      );
      return sizes;
    };
    assert.deepEqual(scene.log, [
      'head 1',
      ...steps(1, 600_000),
      'end 1',
      'head 2',
      ...steps(2, 300_000),
      'end 2',
      'head 3',
      '3: 65536',
      '3: 34464',
      'end 3',
    ]);
    assert.ok(scene.bytesOf(1).equals(BYTES.subarray(0, 600_000)));
    assert.ok(scene.bytesOf(2).equals(BYTES.subarray(5, 300_005)));
    assert.ok(scene.bytesOf(3).equals(BYTES.subarray(10, 100_010)));
    assert.deepEqual(scene.outcomes.get(2), { sent: 300_000, isAnnounced: true, error: undefined });
    assert.equal(scene.queue.isEmpty, true);
  });

  it('takes a chunk that comes once it is empty', async () => {
    const scene = new Scene();
    scene.add(1);
    await scene.ended(1);
    scene.add(2);
    await scene.ended(2);
    assert.deepEqual(scene.log, ['head 1', '1: 1000', 'end 1', 'head 2', '2: 1000', 'end 2']);
  });

  it('hands at most one data frame on before the last one has left', async () => {
    const scene = new Scene();
    let under = 0;
    let most = 0;
    scene.onWrite = async () => {
      most = Math.max(most, ++under);
      await new Promise(setImmediate);
      under--;
    };
    scene.add(1, { end: 2_000_000 });
    await scene.ended(1);
    assert.equal(most, 1);
  });

  it('waits for room in the window, and asks for the way of each quarter and of the end', async () => {
    const scene = new Scene();
    scene.returns = false;
    scene.add(1, { end: 600_000 });
    await eventually(() => assert.equal(scene.sizes.length, 3)); // the fourth would exceed the window with its heads
    assert.deepEqual(scene.marks, [0, 1, 2]);
    await new Promise(setImmediate);
    assert.equal(scene.sizes.length, 3);
    scene.window.returned(2);
    await eventually(() => assert.ok(scene.sizes.length > 3));
    scene.returns = true;
    for (const id of scene.marks) scene.window.returned(id);
    await scene.ended(1);
    assert.ok(scene.bytesOf(1).equals(BYTES.subarray(0, 600_000)));
  });

  it('sends nothing more of a chunk that is stopped while it waits for room', async () => {
    const scene = new Scene();
    scene.returns = false;
    scene.add(1, { end: 600_000 });
    scene.add(2);
    await eventually(() => assert.equal(scene.sizes.length, 3));
    scene.queue.stop(1);
    await eventually(() => assert.ok(scene.outcomes.has(1)));
    scene.returns = true;
    for (const id of scene.marks) scene.window.returned(id);
    await scene.ended(2);
    assert.equal(scene.bytesOf(1).length, 3 * FIRST_STEP);
  });

  it('stops a chunk in its middle, and goes on with the next one', async () => {
    const scene = new Scene();
    scene.onWrite = async () => scene.queue.stop(1);
    scene.add(1, { end: BYTES.length });
    scene.add(2);
    await scene.ended(1, 2);
    const { sent, isAnnounced, error } = scene.outcomes.get(1) ?? assert.fail();
    assert.ok(sent > 0 && sent <= 2 * MAX_DATA_BYTES && isAnnounced);
    assert.ok(isWeirError(error, 'aborted'));
    assert.equal(scene.outcomes.get(2)?.error, undefined);
  });

  it('sends nothing of a chunk that is stopped before its turn, nor of one whose number it does not know', async () => {
    const scene = new Scene();
    scene.onWrite = async () => {
      scene.queue.stop(2);
      scene.queue.stop(77);
    };
    for (const id of [1, 2, 3]) scene.add(id, id === 2 ? {} : { content: BYTES });
    await scene.ended(1, 2, 3);
    assert.deepEqual(scene.log, ['head 1', '1: 1000', 'end 1', 'end 2', 'head 3', '3: 1000', 'end 3']);
    assert.deepEqual(scene.outcomes.get(2)?.isAnnounced, false);
    assert.ok(isWeirError(scene.outcomes.get(2)?.error, 'aborted'));
  });

  it('stops a chunk that waits for its bytes', async () => {
    const scene = new Scene();
    const progress = new Progress();
    progress.advance(1000);
    const content = { ...fileOf(BYTES), progress: progress.memory };
    scene.add(1, { content, end: 5000, isPresent: false });
    scene.add(2);
    await eventually(() => assert.deepEqual(scene.log, ['head 1', '1: 1000']));
    scene.queue.stopAll();
    await scene.ended(1, 2);
    assert.deepEqual([scene.outcomes.get(1)?.sent, scene.outcomes.get(2)?.sent], [1000, 0]);
  });

  it('does not mix bytes of a blob that is fetched anew into a chunk', async () => {
    const scene = new Scene();
    const progress = new Progress();
    progress.advance(1000);
    const { generation } = progress;
    const content = { ...fileOf(BYTES), progress: progress.memory };
    scene.add(1, { content, end: 5000, generation, isPresent: false });
    await eventually(() => assert.deepEqual(scene.log, ['head 1', '1: 1000']));
    progress.restart();
    progress.advance(5000);
    await scene.ended(1);
    assert.equal(scene.outcomes.get(1)?.sent, 1000);
    assert.ok(isWeirError(scene.outcomes.get(1)?.error, 'aborted'));
  });

  it('tells of a file that cannot be read, and announces it only if its first bytes could be', async () => {
    const scene = new Scene();
    scene.add(1, { content: fileOf(BYTES.subarray(0, 0)) });
    scene.add(2, { content: fileOf(BYTES.subarray(0, 262_144)), end: 300_000 });
    scene.add(3);
    await scene.ended(1, 2, 3);
    const { error, isAnnounced, sent } = scene.outcomes.get(1) ?? assert.fail();
    assert.deepEqual([isWeirError(error, 'store_corrupt'), isAnnounced, sent], [true, false, 0]);
    const second = scene.outcomes.get(2) ?? assert.fail();
    assert.deepEqual([isWeirError(second.error, 'store_corrupt'), second.isAnnounced], [true, true]);
    assert.deepEqual(
      scene.log.filter((line) => !line.includes(':')),
      ['end 1', 'head 2', 'end 2', 'head 3', 'end 3'],
    );
  });

  it('ends a chunk with the error of its connection', async () => {
    const scene = new Scene();
    scene.onWrite = () => Promise.reject(new WeirError('aborted', 'the peer closed the connection'));
    scene.add(1, { end: BYTES.length });
    scene.add(2);
    await scene.ended(1, 2);
    for (const id of [1, 2]) assert.match(String(scene.outcomes.get(id)?.error), /closed the connection/);
  });
});
