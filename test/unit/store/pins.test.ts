/** Pinned blobs stay, whatever makes room, and so do the pins, however the process ends. */
import assert from 'node:assert/strict';
import { KIB, MIB, systemClock } from '../../../src/util/clock.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { Catalog } from '../../../src/store/catalog.ts';
import { DataFolder } from '../../../src/store/data-folder.ts';
import { FsStore } from '../../../src/store/fs-store.ts';
import { filesInside } from '../../support/byte-workers.ts';
import { seededBytes } from '../../support/bytes.ts';
import { addBlob } from '../../support/conformance.ts';
import { run } from '../../support/program.ts';
import { ShiftedClock } from '../../support/shifted-clock.ts';
import { TempDir } from '../../support/temp.ts';

const QUOTA = 4 * MIB;
const digest = (text: string): Digest => digestOf(Buffer.from(text));

describe('Pins', () => {
  it('are kept if the process is killed, all of one call or none', async () => {
    await using temp = await TempDir.create('pins');
    const path = temp.join('catalog.db');
    const module = new URL('../../../src/store/catalog.ts', import.meta.url).href;
    /** A process that kills itself in the middle of its second call. */
    const script = `
      const { Catalog } = await import('${module}');
      const catalog = Catalog.open('${path}');
      const blobs = (...texts) => texts.map((digest) => ({ digest, size: 7 }));
      catalog.pins.add(blobs('${digest('a')}', '${digest('b')}'), 1);
      const [last] = blobs('${digest('d')}');
      Object.defineProperty(last, 'size', { get: () => process.kill(process.pid, 'SIGKILL') && 7 });
      catalog.pins.add([...blobs('${digest('c')}'), last], 2);`;
    const { signal } = await run(process.execPath, ['--input-type=module', '-e', script]);
    assert.equal(signal, 'SIGKILL');
    using catalog = Catalog.open(path);
    assert.deepEqual(
      ['a', 'b', 'c', 'd'].map((text) => catalog.pins.has(digest(text))),
      [true, true, false, false],
    );
    assert.deepEqual([catalog.pins.count, catalog.pins.bytes], [2, 14]);
    assert.equal(catalog.pins.remove([digest('a'), digest('c')]), 1);
    assert.deepEqual([catalog.pins.count, catalog.pins.bytes], [1, 7]);
  });

  it('are bounded in number', () => {
    using catalog = Catalog.open(':memory:');
    const many = Array.from({ length: 10_001 }, (_, at) => ({ digest: digest(String(at)), size: 1 }));
    assert.throws(() => catalog.pins.add(many, 1), { code: 'store_full' });
    assert.equal(catalog.pins.count, 0);
    catalog.pins.add(many.slice(1), 1);
    catalog.pins.add(many.slice(1), 2);
    assert.equal(catalog.pins.count, 10_000);
  });
});

describe('FsStore with pins', () => {
  let temp: TempDir;
  let count = 0;
  before(async () => {
    temp = await TempDir.create('pinned');
  });
  after(() => temp[Symbol.asyncDispose]());

  async function open(path: string, catalog: Catalog, clock = new ShiftedClock()): Promise<FsStore> {
    return FsStore.open({
      folder: new DataFolder(path),
      quota: QUOTA,
      pins: catalog.pins,
      partialMaxAge: 3_600_000,
      clock,
      files: filesInside(),
    });
  }

  it('never evicts a pinned blob, also after a restart, and evicts it once it is unpinned', async () => {
    const path = temp.join(String(count++));
    using catalog = Catalog.open(':memory:');
    let kept: Digest;
    {
      await using store = await open(path, catalog);
      kept = await addBlob(store, seededBytes(1.5 * MIB, 'kept'));
      assert.deepEqual(await store.keeper.pin([kept, digest('absent'), kept]), [
        { digest: kept, size: 1.5 * MIB },
      ]);
    }
    await using store = await open(path, catalog);
    for (const seed of ['a', 'b', 'c', 'd', 'e']) await addBlob(store, seededBytes(1 * MIB, seed));
    assert.notEqual(await store.stat(kept), undefined);
    const { entries } = await store.keeper.shrinkTo(0);
    assert.equal(entries, 2);
    assert.deepEqual(await store.keeper.evictUnused(-1000), { entries: 0, bytes: 0 });
    const { pins, pinnedBytes, blobs } = store.usage();
    assert.deepEqual([pins, pinnedBytes, blobs], [1, 1.5 * MIB, 1]);
    assert.equal(await store.keeper.unpin([kept, kept]), 1);
    assert.deepEqual(await store.keeper.shrinkTo(0), { entries: 1, bytes: 1.5 * MIB });
  });

  it('pins no more than half of its quota, all of one call or none', async () => {
    using catalog = Catalog.open(':memory:');
    await using store = await open(temp.join(String(count++)), catalog);
    const digests = await Promise.all(
      ['a', 'b', 'c'].map((seed) => addBlob(store, seededBytes(1 * MIB, seed))),
    );
    await assert.rejects(
      store.keeper.pin(digests),
      /^WeirError: all pins together would take 3145728 bytes, and may take 2097152: half/,
    );
    assert.equal(store.usage().pins, 0);
    await store.keeper.pin(digests.slice(0, 2));
    await store.keeper.pin(digests.slice(0, 2));
    await assert.rejects(store.keeper.pin(digests.slice(2)), { code: 'store_full' });
  });

  it('removes a blob by its digest, but one that is read or pinned only by force', async () => {
    using catalog = Catalog.open(':memory:');
    await using store = await open(temp.join(String(count++)), catalog);
    const bytes = seededBytes(300 * KIB);
    const one = await addBlob(store, bytes);
    assert.equal(await store.keeper.remove(digest('absent'), { force: true }), 'absent');
    await store.keeper.pin([one]);
    assert.equal(await store.keeper.remove(one, { force: false }), 'pinned');
    await store.keeper.unpin([one]);
    {
      await using blob = await store.open(one);
      assert.equal(await store.keeper.remove(one, { force: false }), 'in use');
      await store.keeper.pin([one]);
      assert.equal(await store.keeper.remove(one, { force: true }), 'removed');
      assert.equal(await blob?.read(Buffer.alloc(100), 0), 100, 'its reader keeps it');
    }
    assert.equal(store.usage().pins, 0);
    assert.equal(await store.stat(one), undefined);
    await addBlob(store, bytes);
    assert.equal(await store.keeper.remove(one, { force: false }), 'removed');
  });

  it('removes what was not used for a while', async () => {
    using catalog = Catalog.open(':memory:');
    const clock = new ShiftedClock();
    await using store = await open(temp.join(String(count++)), catalog, clock);
    const old = await addBlob(store, seededBytes(1 * MIB, 'old'));
    const used = await addBlob(store, seededBytes(1 * MIB, 'used'));
    clock.advance(3_600_000);
    await (await store.open(used))?.[Symbol.asyncDispose]();
    const freed = await store.keeper.evictUnused(1_800_000);
    assert.deepEqual(freed, { entries: 1, bytes: 1 * MIB });
    assert.deepEqual(
      [...store.keeper.list()].map((each) => each.digest),
      [used],
    );
    assert.notEqual(old, used);
  });

  it('tells when it found a blob right', async () => {
    using catalog = Catalog.open(':memory:');
    const path = temp.join(String(count++));
    const before = systemClock.now();
    {
      await using store = await open(path, catalog);
      await addBlob(store, seededBytes(1 * MIB));
      const [blob] = store.keeper.list();
      assert.ok(blob?.verifiedAt !== undefined && blob.verifiedAt >= before);
      assert.deepEqual([blob.isInUse, blob.isPinned], [false, false]);
    }
    await using store = await open(path, catalog);
    const [blob] = store.keeper.list();
    assert.equal(blob?.verifiedAt, undefined, 'of an earlier process');
  });
});
