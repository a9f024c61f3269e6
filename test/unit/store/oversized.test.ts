import assert from 'node:assert/strict';
import { KIB, MIB, MINUTE } from '../../../src/util/clock.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { DataFolder } from '../../../src/store/data-folder.ts';
import { FsStore } from '../../../src/store/fs-store.ts';
import type { FsStoreOptions } from '../../../src/store/fs-store-options.ts';
import { OVERSIZED_LEAVES, oversizedProblem } from '../../../src/store/room.ts';
import { filesInside } from '../../support/byte-workers.ts';
import { readAll, seededBytes } from '../../support/bytes.ts';
import { addBlob } from '../../support/conformance.ts';
import { eventually } from '../../support/eventually.ts';
import { blobAt } from '../../support/registry-blob.ts';
import { ShiftedClock } from '../../support/shifted-clock.ts';
import { TempDir } from '../../support/temp.ts';

/** Its sleeps last until the test lets them end. */
class SteppedClock extends ShiftedClock {
  #sleepers: (() => void)[] = [];

  override async sleep(_ms: number, options?: { readonly signal?: AbortSignal | undefined }): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#sleepers.push(resolve);
      options?.signal?.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  /** Goes `ms` on, and ends the sleeps. */
  step(ms: number): void {
    this.advance(ms);
    for (const wake of this.#sleepers.splice(0)) wake();
  }
}

describe('Blobs that are larger than the quota', () => {
  const QUOTA = 1 * MIB;
  let temp: TempDir;
  let count = 0;

  before(async () => {
    temp = await TempDir.create('oversized');
  });
  after(() => temp[Symbol.asyncDispose]());

  const fresh = (): string => temp.join(String(count++));
  const openStore = (path: string, options: Partial<FsStoreOptions> = {}): Promise<FsStore> =>
    FsStore.open({
      folder: new DataFolder(path),
      quota: QUOTA,
      partialMaxAge: 60 * MINUTE,
      clock: new SteppedClock(),
      files: filesInside(),
      ...options,
    });
  const large = seededBytes(3 * MIB, 'large');

  it('are stored beside the others, evict none of them, and are evicted for none', async () => {
    await using store = await openStore(fresh());
    const small = await addBlob(store, seededBytes(900 * KIB, 'small'));
    const digest = await addBlob(store, large);
    const other = await addBlob(store, seededBytes(50 * KIB, 'other'));
    for (const each of [small, digest, other]) assert.notEqual(await store.stat(each), undefined);
    await using blob = await store.open(digest);
    assert.ok(blob !== undefined);
    assert.ok((await readAll(blob)).equals(large));
    await addBlob(store, seededBytes(800 * KIB, 'next'));
    assert.equal(await store.stat(small), undefined, 'the quota holds for the others');
    assert.notEqual(await store.stat(digest), undefined);
  });

  it('go ten minutes after their last use, and not while they are read', async () => {
    const clock = new SteppedClock();
    await using store = await openStore(fresh(), { clock });
    const digest = await addBlob(store, large);
    {
      await using blob = await store.open(digest);
      clock.step(11 * MINUTE);
      await eventually(async () => assert.notEqual(blob, undefined));
      assert.notEqual(await store.stat(digest), undefined);
    }
    await gone(store, clock, digest);
  });

  it('go after a restart', async () => {
    const path = fresh();
    let digest: Digest;
    {
      await using store = await openStore(path);
      digest = await addBlob(store, large);
    }
    const clock = new SteppedClock();
    await using store = await openStore(path, { clock });
    assert.notEqual(await store.stat(digest), undefined);
    await gone(store, clock, digest);
    assert.equal(store.usage().blobBytes, 0);
  });

  it('go on where they stopped, and do not crowd out others meanwhile', async () => {
    const clock = new SteppedClock();
    await using store = await openStore(fresh(), { clock });
    const small = await addBlob(store, seededBytes(900 * KIB, 'small'));
    const at = blobAt(digestOf(large));
    {
      await using ingest = await store.ingest(at, large.length);
      await ingest.write(0, [large.subarray(0, 2.5 * MIB)]);
    }
    await addBlob(store, seededBytes(50 * KIB, 'other'));
    assert.notEqual(await store.stat(small), undefined);
    {
      await using ingest = await store.resume(at);
      assert.ok((ingest?.presentBytes ?? 0) > 0);
    }
    await eventually(async () => {
      clock.step(11 * MINUTE);
      assert.equal(store.usage().partialBytes, 0);
    });
    assert.equal(await store.resume(at), undefined);
  });

  it('are refused if the disk is too small', async () => {
    await using store = await openStore(fresh());
    await assert.rejects(
      store.ingest(blobAt(digestOf(Buffer.from('x'))), 1e15),
      (error) =>
        isWeirError(error, 'store_full') && /larger than the quota, and the free disk/.test(error.message),
    );
    const disk = { free: 500, size: 1000 };
    const left = disk.free - OVERSIZED_LEAVES * disk.size;
    assert.equal(oversizedProblem(true, left, 0, disk), undefined);
    assert.match(oversizedProblem(true, left + 1, 0, disk) ?? '', /free disk/);
    assert.match(oversizedProblem(true, left, 1, disk) ?? '', /free disk/, 'others have announced it');
  });

  it('come one at a time from registries that have delivered nothing', async () => {
    await using store = await openStore(fresh(), { hasDelivered: (registry) => registry === 'known.test' });
    const of = (seed: string, registry: string): Promise<AsyncDisposable> =>
      store.ingest(blobAt(digestOf(Buffer.from(seed)), registry), 2 * MIB);
    await using _first = await of('a', 'unknown.test');
    await assert.rejects(of('b', 'unknown.test'), (error) => isWeirError(error, 'store_full'));
    await using _second = await of('c', 'known.test');
  });
});

async function gone(store: FsStore, clock: SteppedClock, digest: Digest): Promise<void> {
  await eventually(async () => {
    clock.step(11 * MINUTE);
    assert.equal(await store.stat(digest), undefined);
  });
}
