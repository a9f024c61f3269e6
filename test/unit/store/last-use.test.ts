/** Blobs that are kept until a runtime has read them. */
import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { HOUR, MIB } from '../../../src/util/clock.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { DataFolder } from '../../../src/store/data-folder.ts';
import { FsStore } from '../../../src/store/fs-store.ts';
import { filesInside } from '../../support/byte-workers.ts';
import { seededBytes } from '../../support/bytes.ts';
import { addBlob } from '../../support/conformance.ts';
import { eventually } from '../../support/eventually.ts';
import { ShiftedClock } from '../../support/shifted-clock.ts';
import { TempDir } from '../../support/temp.ts';

describe('LastUse', () => {
  let temp: TempDir;
  let count = 0;
  before(async () => {
    temp = await TempDir.create('last-use');
  });
  after(() => temp[Symbol.asyncDispose]());

  const fresh = (): string => temp.join(String(count++));
  const openStore = (path: string, clock: ShiftedClock): Promise<FsStore> =>
    FsStore.open({
      folder: new DataFolder(path),
      quota: 4 * MIB,
      partialMaxAge: HOUR,
      clock,
      files: filesInside(),
    });
  const add = (store: FsStore, name: string): Promise<Digest> => addBlob(store, seededBytes(MIB, name));
  const names = async (store: FsStore, all: Readonly<Record<string, Digest>>): Promise<string> => {
    const here = await Promise.all(
      Object.entries(all).map(async ([name, digest]) => ((await store.stat(digest)) ? name : '')),
    );
    return here.join('');
  };

  it('has kept blobs evicted last, although peers read others later', async () => {
    const clock = new ShiftedClock();
    await using store = await openStore(fresh(), clock);
    const a = await add(store, 'a');
    store.lastUse.keep(a, clock.now() + HOUR);
    const all: Record<string, Digest> = { a };
    for (const name of ['b', 'c', 'd', 'e', 'f']) {
      clock.advance(1000);
      all[name] = await add(store, name);
    }
    assert.equal(await names(store, all), 'adef');
    assert.equal(store.lastUse.keptBytes, MIB);
    await (await store.open(a))?.[Symbol.asyncDispose](); // a peer reads it, which changes nothing
    assert.ok(store.lastUse.isKept(a));

    store.lastUse.used(a);
    assert.equal(store.lastUse.keptBytes, 0);
    for (const name of ['g', 'h', 'i', 'j']) {
      clock.advance(1000);
      all[name] = await add(store, name);
    }
    assert.equal(await names(store, all), 'ghij');
  });

  it('keeps them until their time is over, also after a restart', async () => {
    const clock = new ShiftedClock();
    const path = fresh();
    const until = clock.now() + HOUR;
    let a: Digest;
    {
      await using store = await openStore(path, clock);
      a = await add(store, 'a');
      assert.ok(store.lastUse.keep(a, until));
      store.lastUse.keep(a, until - 1000); // a shorter time takes nothing away
      const file = new DataFolder(path).blob(a);
      await eventually(async () => assert.equal(Math.round((await stat(file)).mtimeMs), until));
    }
    await using store = await openStore(path, clock);
    assert.ok(store.lastUse.isKept(a));
    clock.advance(2 * HOUR);
    assert.ok(!store.lastUse.isKept(a));
    assert.equal(store.lastUse.keptBytes, 0);
  });

  it('gives them up rather than fail a pull', async () => {
    const clock = new ShiftedClock();
    await using store = await openStore(fresh(), clock);
    const all: Record<string, Digest> = {};
    for (const name of ['a', 'b', 'c', 'd']) {
      all[name] = await add(store, name);
      store.lastUse.keep(all[name], clock.now() + HOUR + count++);
    }
    all['e'] = await add(store, 'e');
    assert.equal(await names(store, all), 'bcde');
    assert.equal(store.lastUse.keep(all['a'] as Digest, clock.now() + HOUR), false);
  });
});
