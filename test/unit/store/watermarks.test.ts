/** The store gives way to other programs on a disk that fills up. */
import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import * as fc from 'fast-check';
import { GIB, MIB } from '../../../src/util/clock.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { DataFolder } from '../../../src/store/data-folder.ts';
import type { DiskChange } from '../../../src/store/disk.ts';
import { FsStore } from '../../../src/store/fs-store.ts';
import type { FsStoreOptions } from '../../../src/store/fs-store-options.ts';
import {
  bytesOf,
  freePercent,
  missingBytes,
  nextDiskState,
  type DiskState,
} from '../../../src/store/watermarks.ts';
import { filesInside } from '../../support/byte-workers.ts';
import { seededBytes } from '../../support/bytes.ts';
import { addBlob } from '../../support/conformance.ts';
import { blobAt } from '../../support/registry-blob.ts';
import { ShiftedClock } from '../../support/shifted-clock.ts';
import { TempDir } from '../../support/temp.ts';

const MARKS = { shrinkBelow: 20, stopBelow: 15 };

describe('the watermarks of the disk', () => {
  const at = (free: number): { size: number; free: number } => ({ size: 1000, free: free * 10 });

  it('begin a state below the mark, and end it above the mark and a margin', () => {
    const walk = (...shares: number[]): readonly DiskState[] => {
      let state: DiskState = 'normal';
      return shares.map((share) => (state = nextDiskState(state, at(share), MARKS)));
    };
    assert.deepEqual(walk(50, 20, 19.9, 20, 20.9, 21), [
      ...(['normal', 'normal', 'shrinking', 'shrinking', 'shrinking', 'normal'] as const),
    ]);
    assert.deepEqual(walk(15, 14.9, 15.5, 16, 15.5, 14, 30), [
      ...(['shrinking', 'stopped', 'stopped', 'shrinking', 'shrinking', 'stopped', 'normal'] as const),
    ]);
  });

  it('change the state at most once for shares that stay within the margin', () => {
    const states = fc.constantFrom<DiskState>('normal', 'shrinking', 'stopped');
    const near = fc.double({ min: -0.49, max: 0.49, noNaN: true });
    fc.assert(
      fc.property(states, fc.constantFrom(15.5, 20.5), fc.array(near), (before, middle, offsets) => {
        let state = before;
        let changes = 0;
        for (const offset of offsets) {
          const next = nextDiskState(state, at(middle + offset), MARKS);
          if (next !== state) changes++;
          state = next;
        }
        assert.ok(changes <= 1, `${changes} changes`);
      }),
    );
  });

  it('never matter if they are 0, and a disk that does not tell its size counts as empty', () => {
    const off = { shrinkBelow: 0, stopBelow: 0 };
    for (const before of ['normal', 'shrinking', 'stopped'] as const) {
      assert.equal(nextDiskState(before, at(0), off), 'normal');
      assert.equal(nextDiskState(before, { size: 0, free: 0 }, MARKS), 'normal');
    }
    assert.equal(freePercent({ size: 0, free: 0 }), 100);
    assert.equal(missingBytes(at(12), 20), 80);
    assert.equal(missingBytes(at(30), 20), 0);
    assert.equal(bytesOf(at(30), 20), 200);
  });
});

describe('FsStore on a disk that others fill', () => {
  const temp = (async () => TempDir.create('watermarks'))();
  let count = 0;
  after(async () => (await temp)[Symbol.asyncDispose]());

  /** A store on a made-up disk of 10 GiB: what others take is set by the test, what the store holds counts. */
  async function scene(options: Partial<FsStoreOptions> = {}): Promise<Scene> {
    const clock = new ShiftedClock();
    const changes: DiskChange[] = [];
    const evicted: Digest[] = [];
    const disk = { others: 0, fails: false };
    let held = (): number => 0;
    const size = 10 * GIB;
    const store = await FsStore.open({
      folder: new DataFolder((await temp).join(String(count++))),
      quota: 64 * MIB,
      partialMaxAge: 3_600_000,
      clock,
      files: filesInside(),
      watermarks: MARKS,
      readSpace: async () => {
        if (disk.fails) throw Object.assign(new Error('EIO: i/o error, statfs'), { code: 'EIO' });
        return { size, free: size - disk.others - held() };
      },
      onDisk: (change) => changes.push(change),
      onEvict: ({ digest }) => evicted.push(digest),
      ...options,
    });
    held = () => store.usage().blobBytes;
    const fill = (percentFree: number): void => {
      disk.others = size - bytesOf({ size, free: 0 }, percentFree) - store.usage().blobBytes;
      clock.advance(1000);
    };
    const add = async (seed: string): Promise<Digest> => {
      clock.advance(1000);
      return addBlob(store, seededBytes(1 * MIB, seed));
    };
    return {
      store,
      clock,
      changes,
      evicted,
      disk,
      fill,
      add,
      [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
    };
  }

  it('evicts the least recently used blobs until enough is free, and no more', async () => {
    await using made = await scene();
    const { store, add, fill, clock, evicted, changes } = made;
    const digests = [await add('a'), await add('b'), await add('c'), await add('d')];
    fill(20.5);
    await store.keeper.keepDiskFree();
    assert.deepEqual([evicted, changes], [[], []]);
    made.disk.others += bytesOf({ size: 10 * GIB, free: 0 }, 0.5) + 1.5 * MIB;
    clock.advance(30_000);
    await store.keeper.keepDiskFree();
    assert.deepEqual(evicted, digests.slice(0, 2));
    assert.equal(store.usage().state, 'shrinking');
    clock.advance(30_000);
    await store.keeper.keepDiskFree();
    assert.deepEqual(evicted, digests.slice(0, 2), 'a fifth of the disk is free');
    fill(40);
    await store.keeper.keepDiskFree();
    assert.deepEqual(
      changes.map(({ from, to }) => `${from} ${to}`),
      ['normal shrinking', 'shrinking normal'],
    );
  });

  it('evicts all that nobody reads if that does not do, and takes nothing new before there is space', async () => {
    await using made = await scene();
    const { store, add, fill, evicted } = made;
    const [one, two] = [await add('a'), await add('b')];
    {
      await using blob = await store.open(one);
      assert.ok(blob !== undefined);
      fill(10);
      await assert.rejects(
        add('c'),
        (error) =>
          isWeirError(error, 'store_full') &&
          /10\.0 % of the disk is free, and below 15 %/.test(error.message),
      );
      assert.deepEqual(evicted, [two], 'at once, not at the next turn');
      assert.equal(store.usage().state, 'stopped');
    }
    await using blob = await store.open(one);
    assert.ok(blob !== undefined, 'what is there is served');
    fill(15.5);
    await assert.rejects(add('c'), { code: 'store_full' }, 'within the margin');
    fill(16.5);
    await add('c');
    assert.equal(store.usage().state, 'shrinking');
  });

  it('does not let a blob that is arriving take the space that others need', async () => {
    await using made = await scene({ quota: 4 * GIB });
    const { store, fill } = made;
    const bytes = seededBytes(20 * MIB);
    fill(25);
    await using ingest = await store.ingest(blobAt(digestOf(bytes)), bytes.length);
    fill(14);
    await assert.rejects(ingest.write(0, [bytes.subarray(0, MIB)]), { code: 'store_full' });
    fill(25);
    await assert.rejects(store.ingest(blobAt(digestOf(Buffer.of(1))), 2 * GIB), /the disk is full/);
  });

  it('lets blobs begin to arrive while it evicts much', async () => {
    const folder = new DataFolder((await temp).join(String(count++)));
    await folder.create();
    for (const seed of ['a', 'b', 'c', 'd']) {
      await using file = await open(folder.blob(digestOf(Buffer.from(seed))), 'w');
      await file.truncate(250 * MIB); // sparse
    }
    await using made = await scene({ folder, quota: 4 * GIB });
    const { store } = made;
    const ended: string[] = [];
    const shrunk = store.keeper.shrinkTo(0).then((freed) => (ended.push('shrunk'), freed));
    await using _ingest = await store.ingest(blobAt(digestOf(Buffer.of(1))), MIB);
    ended.push('begun');
    assert.deepEqual(await shrunk, { entries: 4, bytes: 1000 * MIB });
    assert.deepEqual(ended, ['begun', 'shrunk']);
  });

  it('keeps its state while the disk cannot be looked at, and passes blobs through', async () => {
    await using made = await scene();
    const { store, add, clock, disk, changes } = made;
    disk.fails = true;
    clock.advance(1000);
    await assert.rejects(store.keeper.keepDiskFree(), { code: 'store_unusable' });
    await assert.rejects(add('a'), { code: 'store_unusable' });
    disk.fails = false;
    await add('a');
    assert.deepEqual(changes, []);
  });
});

interface Scene extends AsyncDisposable {
  readonly store: FsStore;
  readonly clock: ShiftedClock;
  readonly changes: DiskChange[];
  readonly evicted: Digest[];
  /** Bytes that other programs take, and whether statfs(2) fails. */
  readonly disk: { others: number; fails: boolean };
  /** Lets others take so much that this share is free, in per cent. */
  readonly fill: (percentFree: number) => void;
  readonly add: (seed: string) => Promise<Digest>;
}
