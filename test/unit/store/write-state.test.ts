/** A disk that fails: blobs cannot be kept, and one word tells when that begins and ends. */
import assert from 'node:assert/strict';
import { rename } from 'node:fs/promises';
import { MIB, systemClock } from '../../../src/util/clock.ts';
import { WeirError } from '../../../src/util/errors.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import type { ByteFiles } from '../../../src/store/byte-files.ts';
import { DataFolder } from '../../../src/store/data-folder.ts';
import { FsStore } from '../../../src/store/fs-store.ts';
import { cannotKeep } from '../../../src/store/store.ts';
import { WriteState } from '../../../src/store/write-state.ts';
import { filesInside } from '../../support/byte-workers.ts';
import { seededBytes } from '../../support/bytes.ts';
import { addBlob } from '../../support/conformance.ts';
import { blobAt } from '../../support/registry-blob.ts';
import { TempDir } from '../../support/temp.ts';

const systemError = (code: string): Error => Object.assign(new Error(`${code}: it failed, write`), { code });

describe('a disk that cannot be written', () => {
  it('is told once, until it can be written again', async () => {
    await using temp = await TempDir.create('unwritable');
    const folder = new DataFolder(temp.join('data'));
    const told: (string | undefined)[] = [];
    const inside = filesInside();
    let broken: Error | undefined;
    const write: ByteFiles['write'] = (...parameters) =>
      broken === undefined ? inside.write(...parameters) : Promise.reject(broken);
    const files: ByteFiles = {
      write,
      give: inside.give.bind(inside),
      hash: inside.hash.bind(inside),
      check: inside.check.bind(inside),
      survey: inside.survey.bind(inside),
      follow: inside.follow.bind(inside),
    };
    await using store = await FsStore.open({
      folder,
      quota: 64 * MIB,
      partialMaxAge: 3_600_000,
      clock: systemClock,
      files,
      onWritable: (problem) => told.push(problem),
    });
    const writeOne = async (seed: string): Promise<void> => {
      const bytes = seededBytes(1 * MIB, seed);
      await using ingest = await store.ingest(blobAt(digestOf(bytes)), bytes.length);
      const { layout } = ingest;
      await ingest.writeChunk(0, await inside.hold(bytes.subarray(0, layout.end(0))));
    };

    broken = systemError('EIO');
    for (const seed of ['a', 'b']) await assert.rejects(writeOne(seed), cannotKeep);
    assert.equal(store.usage().state, 'unwritable');
    broken = undefined;

    await rename(folder.partials, `${folder.partials}-gone`);
    await assert.rejects(addBlob(store, seededBytes(1000, 'c')), cannotKeep);
    await rename(`${folder.partials}-gone`, folder.partials);
    await addBlob(store, seededBytes(1000, 'd'));
    assert.equal(store.usage().state, 'normal');
    assert.deepEqual(told, ['EIO: it failed, write', undefined]);
  });

  it('is no disk that is full, and no pull that was given up', () => {
    const told: unknown[] = [];
    const state = new WriteState((problem) => told.push(problem));
    for (const cause of [
      systemError('ENOSPC'),
      new WeirError('store_full', 'no room'),
      new WeirError('aborted', 'nobody waits'),
      new WeirError('worker_lost', 'its memory is gone'),
    ])
      state.failed(cause);
    assert.deepEqual([state.isWritable, told], [true, []]);
    state.failed(systemError('EROFS'));
    state.failed(systemError('EROFS'));
    assert.deepEqual([state.isWritable, told], [false, ['EROFS: it failed, write']]);
    state.succeeded();
    state.succeeded();
    assert.deepEqual([state.isWritable, told], [true, ['EROFS: it failed, write', undefined]]);
  });
});
