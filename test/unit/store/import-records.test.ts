/** What was imported is kept: over restarts, and against eviction. */
import assert from 'node:assert/strict';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { MIB, systemClock } from '../../../src/util/clock.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseImageReference } from '../../../src/oci/reference.ts';
import { DataFolder } from '../../../src/store/data-folder.ts';
import { FsStore } from '../../../src/store/fs-store.ts';
import { ImportRecords, nameOf, type ImportRecord } from '../../../src/store/import-records.ts';
import { filesInside } from '../../support/byte-workers.ts';
import { seededBytes } from '../../support/bytes.ts';
import { addBlob } from '../../support/conformance.ts';
import { TempDir } from '../../support/temp.ts';

const fail = (message: string): never => assert.fail(message);

function recordOf(name: string, ...contents: readonly string[]): ImportRecord {
  const { repository, reference } = parseImageReference(name);
  assert.ok(reference.kind === 'tag');
  const blobs = contents.map((text) => ({ digest: digestOf(Buffer.from(text)), size: text.length }));
  const [manifest = fail('no blob')] = blobs;
  return { repository, tag: reference.tag, ...manifest, mediaType: 'application/json', at: 1, blobs };
}

describe('ImportRecords', () => {
  let temp: TempDir;
  let count = 0;

  before(async () => {
    temp = await TempDir.create('imports');
  });
  after(() => temp[Symbol.asyncDispose]());

  const fresh = (): string => temp.join(`imports-${count++}.json`);

  it('outlive a restart, in a file that is nobody else’s to read', async () => {
    const path = fresh();
    const records = await ImportRecords.open(path, fail);
    const record = recordOf('registry.test/app:v1', 'manifest', 'layer');
    await records.add([record, recordOf('alpine', 'other')]);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    const again = await ImportRecords.open(path, fail);
    assert.deepEqual(again.all.map(nameOf), ['docker.io/library/alpine:latest', 'registry.test/app:v1']);
    assert.deepEqual(again.tag(record.repository, record.tag), record);
    assert.deepEqual(again.image(record.repository, record.digest), record);
  });

  it('know a blob in the repository that it was imported for, and in no other', async () => {
    const records = await ImportRecords.open(fresh(), fail);
    const app = recordOf('registry.test/app:v1', 'manifest', 'layer');
    const other = recordOf('registry.test/other:v1', 'other manifest');
    await records.add([app, other]);
    const layer = digestOf(Buffer.from('layer'));
    assert.equal(records.sizeIn(app.repository, layer), 5);
    assert.equal(records.sizeIn(other.repository, layer), undefined);
    assert.equal(records.image(app.repository, layer), undefined);
    assert.ok(records.isOf(app.repository.registry, layer));
    assert.ok(!records.isOf(recordOf('alpine', 'x').repository.registry, layer));
  });

  it('unpin what no other image needs when one is removed', async () => {
    const path = fresh();
    const records = await ImportRecords.open(path, fail);
    const app = recordOf('registry.test/app:v1', 'manifest', 'shared');
    await records.add([app, recordOf('registry.test/app:v2', 'second', 'shared')]);
    assert.equal(records.pinnedBytes, 'manifest'.length + 'second'.length + 'shared'.length);
    assert.deepEqual(await records.remove(app.repository, app.tag), app);
    assert.equal(await records.remove(app.repository, app.tag), undefined);
    assert.ok(!records.isPinned(app.digest));
    assert.ok(records.isPinned(digestOf(Buffer.from('shared'))));
    assert.equal((await ImportRecords.open(path, fail)).all.length, 1);
  });

  it('are bounded', async () => {
    const records = await ImportRecords.open(fresh(), fail);
    const many = Array.from({ length: 1001 }, (_, i) => recordOf(`app:v${i}`, 'manifest'));
    await assert.rejects(records.add(many), (error) => isWeirError(error, 'import_refused'));
    assert.equal(records.all.length, 0);
    await records.add(many.slice(1));
  });

  it('begin anew if the file is damaged, which is kept and reported', async () => {
    for (const text of ['', '{"version":1,', '{"version":1,"imports":[{"reference":"a"}]}']) {
      const path = fresh();
      await writeFile(path, text);
      const problems: string[] = [];
      const records = await ImportRecords.open(path, (problem) => problems.push(problem));
      assert.equal(records.all.length, 0);
      assert.match(problems.join(), /is damaged .* set aside, import the images again/);
      assert.equal(await readFile(`${path}.damaged`, 'utf8'), text);
    }
  });
});

describe('FsStore with pinned blobs', () => {
  it('neither evicts them nor drops them for the copy of a runtime', async () => {
    await using temp = await TempDir.create('pinned');
    const pinned = seededBytes(MIB, 1);
    const store = await FsStore.open({
      folder: new DataFolder(temp.path),
      quota: 3 * MIB,
      partialMaxAge: 1000,
      clock: systemClock,
      files: filesInside(),
      isPinned: (digest) => digest === digestOf(pinned),
    });
    await using _store = store;
    await addBlob(store, pinned);
    for (let i = 2; i < 6; i++) await addBlob(store, seededBytes(MIB, i));
    assert.ok((await store.stat(digestOf(pinned))) !== undefined);
    assert.equal(await store.delete(digestOf(pinned)), false);
    assert.ok((await store.stat(digestOf(pinned))) !== undefined);
    assert.equal(await store.stat(digestOf(seededBytes(MIB, 2))), undefined);
    // What would push it out is refused.
    await assert.rejects(addBlob(store, seededBytes(3 * MIB, 7)), (error) =>
      isWeirError(error, 'store_full'),
    );
  });
});
