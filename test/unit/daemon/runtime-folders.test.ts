/** Of a blob that the runtime has, Weir drops its own copy, unless it is pinned: the runtime may drop its own. */
import assert from 'node:assert/strict';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { createLogger } from '../../../src/daemon/logger.ts';
import { openRuntime } from '../../../src/daemon/runtime-folders.ts';
import { digestHex } from '../../../src/oci/digest.ts';
import { Catalog } from '../../../src/store/catalog.ts';
import { DataFolder } from '../../../src/store/data-folder.ts';
import { FsStore } from '../../../src/store/fs-store.ts';
import { MIB, systemClock } from '../../../src/util/clock.ts';
import { filesInside } from '../../support/byte-workers.ts';
import { seededBytes } from '../../support/bytes.ts';
import { addBlob } from '../../support/conformance.ts';
import { eventually } from '../../support/eventually.ts';
import { TempDir } from '../../support/temp.ts';

describe('openRuntime', () => {
  it('drops the own copy of a blob that appears in the content folder, but not of a pinned one', async () => {
    await using temp = await TempDir.create('runtime-folders');
    const files = filesInside();
    using catalog = Catalog.open(':memory:');
    await using store = await FsStore.open({
      folder: new DataFolder(temp.join('data')),
      quota: 8 * MIB,
      pins: catalog.pins,
      partialMaxAge: 3_600_000,
      clock: systemClock,
      files,
    });
    const contents = ['pinned', 'plain'].map((seed) => seededBytes(1000, seed));
    const digests = [];
    for (const bytes of contents) digests.push(await addBlob(store, bytes));
    const [pinned = assert.fail(), plain = assert.fail()] = digests;
    await store.keeper.pin([pinned]);

    await mkdir(temp.join('content/blobs/sha256'), { recursive: true });
    await mkdir(temp.join('content/ingest'), { recursive: true });
    const logger = await createLogger({ level: 'silent', format: 'json', isTerminal: false, color: false });
    const surroundings = { store, files, logger, announced: () => undefined };
    await using runtime = await openRuntime(temp.join('content'), surroundings);
    for (const [at, bytes] of contents.entries()) {
      const hex = digestHex(digests[at] ?? assert.fail());
      await writeFile(temp.join('content/ingest', hex), bytes);
      await rename(temp.join('content/ingest', hex), temp.join('content/blobs/sha256', hex)); // as containerd commits
    }
    await eventually(async () => assert.equal(await store.stat(plain), undefined));
    assert.equal(runtime.blobs, 2);
    assert.notEqual(await store.stat(pinned), undefined);
  });
});
