/** `weir import` at the node: what is kept of an archive, and that nothing is kept of a bad one. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { MIB, systemClock } from '../../../src/util/clock.ts';
import { isWeirError, type ErrorCode } from '../../../src/util/errors.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseImageReference } from '../../../src/oci/reference.ts';
import { ARCHIVE, Importer } from '../../../src/pull/importer.ts';
import { DataFolder } from '../../../src/store/data-folder.ts';
import { FsStore } from '../../../src/store/fs-store.ts';
import { ImportRecords, nameOf } from '../../../src/store/import-records.ts';
import { filesInside } from '../../support/byte-workers.ts';
import { seededBytes } from '../../support/bytes.ts';
import { addBlob } from '../../support/conformance.ts';
import { buildImage } from '../../support/images.ts';
import { TempDir } from '../../support/temp.ts';
import {
  blobPath,
  dockerEntries,
  dockerParts,
  inParts,
  json,
  layoutEntries,
  tarOf,
} from '../../support/archives.ts';

interface Scene extends AsyncDisposable {
  readonly importer: Importer;
  readonly store: FsStore;
  readonly records: ImportRecords;
  readonly folder: DataFolder;
  run(archive: Uint8Array, name?: string): Promise<readonly string[]>;
}

async function scene(quota = 64 * MIB, isTrusted = true): Promise<Scene> {
  const dir = await TempDir.create('importer');
  const folder = new DataFolder(dir.path);
  const records = await ImportRecords.open(dir.join('imports.json'), assert.fail);
  const store = await FsStore.open({
    folder,
    quota,
    partialMaxAge: 60_000,
    clock: systemClock,
    files: filesInside(),
    hasDelivered: (registry) => registry === ARCHIVE || registry === 'registry.test',
    isPinned: (digest) => records.isPinned(digest),
  });
  const nothing = (): void => undefined;
  const options = {
    isTrusted,
    store,
    records,
    folder,
    clock: systemClock,
    imported: nothing,
    removed: nothing,
  };
  const importer = new Importer(options);
  return {
    importer,
    store,
    records,
    folder,
    run: async (archive, name) => {
      const image = name === undefined ? undefined : parseImageReference(name);
      return (await importer.run(inParts(archive), image)).map(nameOf);
    },
    [Symbol.asyncDispose]: async () => {
      await store[Symbol.asyncDispose]();
      await dir[Symbol.asyncDispose]();
    },
  };
}

async function assertRefused(work: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(work, (error: unknown) => {
    assert.ok(isWeirError(error, code), String(error));
    assert.match(error.message, message);
    return true;
  });
}

describe('Importer', () => {
  it('keeps an OCI layout, under the name that it is given', async () => {
    await using site = await scene();
    const image = await buildImage({ seed: 'import', layers: [2 * MIB, 10] });
    const archive = await tarOf(layoutEntries(image));
    assert.deepEqual(await site.run(archive, 'registry.test/app:v1'), ['registry.test/app:v1']);
    for (const { digest, size } of [image, ...image.blobs]) {
      assert.equal((await site.store.stat(digest))?.size, size);
      assert.ok(site.records.isPinned(digest));
    }
    // Again, and as another image: what is there is not written anew.
    assert.deepEqual(await site.run(archive, 'registry.test/app:v2'), ['registry.test/app:v2']);
    assert.equal(site.records.all.length, 2);
  });

  it('keeps an old archive of docker save, and hashes large layers on the disk', async () => {
    await using site = await scene();
    const layer = seededBytes(3 * MIB).toString('latin1');
    const parts = dockerParts(layer, 'small');
    const archive = await tarOf(dockerEntries(parts, 'app:v1'));
    assert.deepEqual(await site.run(archive), ['docker.io/library/app:v1']);
    for (const bytes of parts.layers)
      assert.equal((await site.store.stat(digestOf(bytes)))?.size, bytes.length);
    assert.deepEqual(await readdir(site.folder.arrivingImports), []);
  });

  it('writes nothing down if anything is wrong, and pins nothing of it', async () => {
    await using site = await scene();
    const image = await buildImage({ seed: 'wrong', layers: [1000] });
    const good = layoutEntries(image);
    const [config] = image.blobs;
    assert.ok(config !== undefined);
    const changed = good.map(([name, bytes]) =>
      name === blobPath(config.digest)
        ? ([name, Buffer.alloc(config.size)] as const)
        : ([name, bytes] as const),
    );
    await assertRefused(site.run(await tarOf(changed), 'a:b'), 'digest_mismatch', /do not have the digest/);
    const whole = await tarOf(good);
    await assertRefused(site.run(whole.subarray(0, 2000), 'a:b'), 'archive_invalid', /cut short/);
    assert.equal(site.records.all.length, 0);
    for (const { digest } of [image, ...image.blobs]) assert.ok(!site.records.isPinned(digest));
    assert.equal((await site.run(whole, 'a:b')).length, 1); // a bad archive stands in no good one's way
  });

  it('refuses names that are missing, or that cannot be', async () => {
    await using site = await scene();
    const image = await buildImage({ seed: 'names' });
    await assertRefused(site.run(await tarOf(layoutEntries(image))), 'archive_invalid', /one with --name/);
    const byDigest = { 'io.containerd.image.name': `app@${image.digest}` };
    await assertRefused(
      site.run(await tarOf(layoutEntries(image, byDigest))),
      'archive_invalid',
      /a tag with/,
    );
    const [one, other] = [dockerParts('one'), dockerParts('other')];
    const lists = [one, other].map(({ configPath }, at) => ({
      Config: configPath,
      RepoTags: ['app:v1'],
      Layers: [`${at}.tar`],
    }));
    const two = await tarOf([
      [one.configPath, one.config],
      [other.configPath, other.config],
      ['0.tar', 'one'],
      ['1.tar', 'other'],
      ['manifest.json', json(lists)],
    ]);
    await assertRefused(
      site.run(two),
      'archive_invalid',
      /two images with the name docker.io\/library\/app:v1/,
    );
    await assertRefused(site.run(two, 'app:v1'), 'archive_invalid', /2 images/);
  });

  it('refuses what would leave no room for pulls, and evicts pulled blobs for the rest', async () => {
    await using site = await scene(4 * MIB);
    const pulled = seededBytes(3 * MIB, 'pulled');
    await addBlob(site.store, pulled);
    const image = await buildImage({ seed: 'room', layers: [2 * MIB] });
    await site.run(await tarOf(layoutEntries(image)), 'app:v1');
    assert.equal(await site.store.stat(digestOf(pulled)), undefined);
    const more = await buildImage({ seed: 'more', layers: [1.5 * MIB] });
    const archive = await tarOf(layoutEntries(more));
    await assertRefused(site.run(archive, 'app:v2'), 'store_full', /three quarters of store.quota/);
    await site.importer.remove(parseImageReference('app:v1'));
    await site.run(archive, 'app:v2');
  });

  it('runs one import at a time', async () => {
    await using site = await scene();
    const image = await buildImage({ seed: 'turns' });
    const archive = await tarOf(layoutEntries(image));
    const first = site.run(archive, 'app:v1');
    await assertRefused(site.run(archive, 'app:v2'), 'import_refused', /another import is running/);
    await first;
    await site.run(archive, 'app:v2');
  });

  it('refuses all without the rule, and names the setting', async () => {
    await using site = await scene(64 * MIB, false);
    await assertRefused(site.run(await tarOf([])), 'import_refused', /access\.trust-imported is "no"/);
  });

  it('says that it does not have what is to be removed', async () => {
    await using site = await scene();
    const remove = site.importer.remove(parseImageReference('app:v1'));
    await assertRefused(remove, 'manifest_unknown', /docker.io\/library\/app:v1 was not imported/);
  });
});
