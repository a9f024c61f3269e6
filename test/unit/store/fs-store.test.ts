import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { KIB, MIB, systemClock } from '../../../src/util/clock.ts';
import type { HeldChunk } from '../../../src/util/content.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { Progress } from '../../../src/util/progress.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import type { RegistryBlob } from '../../../src/oci/registry-blob.ts';
import { DataFolder, partialName } from '../../../src/store/data-folder.ts';
import { FsStore } from '../../../src/store/fs-store.ts';
import type { FsStoreOptions } from '../../../src/store/fs-store-options.ts';
import type { Pour } from '../../../src/store/store.ts';
import { filesInside } from '../../support/byte-workers.ts';
import { readAll, seededBytes } from '../../support/bytes.ts';
import { ShiftedClock } from '../../support/shifted-clock.ts';
import { addBlob, storeConformance } from '../../support/conformance.ts';
import { TempDir } from '../../support/temp.ts';
import { blobAt } from '../../support/registry-blob.ts';

async function openStore(path: string, options: Partial<FsStoreOptions> = {}): Promise<FsStore> {
  return FsStore.open({
    folder: new DataFolder(path),
    quota: 64 * MIB,
    partialMaxAge: 3_600_000,
    clock: systemClock,
    files: filesInside(),
    ...options,
  });
}

/** Overwrites one byte of a file. */
async function damage(path: string, position: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[position] = (bytes[position] ?? 0) ^ 0xff;
  await writeFile(path, bytes);
}

const isFull = (error: unknown): boolean => isWeirError(error, 'store_full');

describe('FsStore', () => {
  let temp: TempDir;
  let count = 0;

  before(async () => {
    temp = await TempDir.create('fs-store');
  });
  after(() => temp[Symbol.asyncDispose]());

  const fresh = (): string => temp.join(String(count++));

  storeConformance(() => openStore(fresh()));

  it('makes folders 0700 and files 0600', async () => {
    const path = fresh();
    await using store = await openStore(path);
    await addBlob(store, seededBytes(100));
    const { stdout } = await promisify(execFile)('find', [path, '-printf', '%y %m\n']);
    assert.deepEqual([...new Set(stdout.trim().split('\n'))].toSorted(), ['d 700', 'f 600']);
  });

  it('has its blobs again after a restart', async () => {
    const path = fresh();
    const bytes = seededBytes(3 * MIB);
    let digest: Digest;
    {
      await using store = await openStore(path);
      digest = await addBlob(store, bytes);
    }
    await using store = await openStore(path);
    await using blob = await store.open(digest);
    assert.ok(blob !== undefined && (await readAll(blob)).equals(bytes));
  });

  it('never hands out a byte of a chunk that rotted on the disk, and drops the blob', async () => {
    const path = fresh();
    const bytes = seededBytes(3 * MIB);
    const digest = digestOf(bytes);
    {
      await using store = await openStore(path);
      await addBlob(store, bytes);
    }
    await damage(new DataFolder(path).blob(digest), 2 * MIB + 5);
    const problems: string[] = [];
    await using store = await openStore(path, { onProblem: (message) => problems.push(message) });
    await using blob = await store.open(digest);
    assert.ok(blob !== undefined);
    const good = Buffer.alloc(1 * MIB);
    assert.equal(await blob.read(good, 0), good.length);
    assert.ok(good.equals(bytes.subarray(0, good.length)), 'chunks before the damage are good');
    await assert.rejects(blob.read(Buffer.alloc(10), 2 * MIB), (error) =>
      isWeirError(error, 'store_corrupt'),
    );
    assert.equal(await store.open(digest), undefined);
    assert.match(problems.join('\n'), /damaged/);
  });

  for (const size of [100 * KIB, 3 * MIB]) {
    it(`does not hand out ${size / KIB} KiB that rotted after they were found right`, async () => {
      const path = fresh();
      const clock = new ShiftedClock();
      const bytes = seededBytes(size);
      const digest = digestOf(bytes);
      await using store = await openStore(path, { clock });
      await addBlob(store, bytes);
      {
        await using blob = await store.open(digest);
        assert.ok(blob !== undefined && (await readAll(blob)).equals(bytes));
      }
      await damage(new DataFolder(path).blob(digest), size - 10);
      clock.advance(11 * 60_000);
      await using blob = await store.open(digest);
      if (blob !== undefined) await assert.rejects(readAll(blob), { code: 'store_corrupt' });
      assert.equal(await store.stat(digest), undefined);
    });
  }

  it('drops a blob that was cut short while the node was down', async () => {
    const path = fresh();
    const bytes = seededBytes(1 * MIB);
    {
      await using store = await openStore(path);
      await addBlob(store, bytes);
    }
    await truncate(new DataFolder(path).blob(digestOf(bytes)), 1000);
    await using store = await openStore(path);
    assert.equal(await store.open(digestOf(bytes)), undefined);
    assert.equal(await store.stat(digestOf(bytes)), undefined);
  });

  it('rebuilds a lost chunk map, and refuses a blob that does not have its digest', async () => {
    const path = fresh();
    const folder = new DataFolder(path);
    const bytes = seededBytes(1 * MIB);
    {
      await using store = await openStore(path);
      await addBlob(store, bytes);
    }
    await writeFile(folder.chunkMap(digestOf(bytes)), 'nonsense');
    await writeFile(folder.blob(digestOf(Buffer.from('never written'))), 'something else');
    await using store = await openStore(path);
    await using blob = await store.open(digestOf(bytes));
    assert.ok(blob !== undefined && (await readAll(blob)).equals(bytes));
    assert.equal(await store.open(digestOf(Buffer.from('never written'))), undefined);
  });

  it('resumes a partial blob after a restart without the chunks that were damaged', async () => {
    const path = fresh();
    const folder = new DataFolder(path);
    const bytes = seededBytes(500_000);
    const digest = digestOf(bytes);
    {
      await using store = await openStore(path);
      await using ingest = await store.ingest(blobAt(digest), bytes.length);
      await ingest.write(0, [bytes.subarray(0, 450_000)]);
    }
    await damage(folder.partial(partialName(blobAt(digest))), 150_000);
    await using store = await openStore(path);
    await using ingest = await store.ingest(blobAt(digest), bytes.length);
    const { chunkSize } = ingest.layout;
    assert.deepEqual(
      [0, 1, 2, 3].map((index) => ingest.has(index)),
      [true, false, true, false],
    );
    await ingest.write(chunkSize, [bytes.subarray(chunkSize, 2 * chunkSize)]);
    await ingest.write(3 * chunkSize, [bytes.subarray(3 * chunkSize)]);
    await ingest.commit();
  });

  it('starts over if a partial blob has another size than upstream says now', async () => {
    await using store = await openStore(fresh());
    const bytes = seededBytes(600_000);
    {
      await using wrong = await store.ingest(blobAt(digestOf(bytes)), 700_000);
      await wrong.write(0, [seededBytes(700_000, 'other')]);
    }
    await using ingest = await store.ingest(blobAt(digestOf(bytes)), bytes.length);
    assert.equal(ingest.presentBytes, 0);
    await ingest.write(0, [bytes]);
    await ingest.commit();
  });

  it('evicts the least recently used blobs when the quota is reached, also after a restart', async () => {
    const path = fresh();
    const digests: Digest[] = [];
    {
      await using store = await openStore(path, { quota: 4 * MIB });
      for (const seed of ['a', 'b', 'c', 'd']) digests.push(await addBlob(store, seededBytes(1 * MIB, seed)));
    }
    const folder = new DataFolder(path);
    for (const [index, digest] of [1, 3, 2, 0].map((order) => [order, digests[order]] as const)) {
      const used = new Date(Date.now() - (4 - [1, 3, 2, 0].indexOf(index)) * 60_000);
      assert.ok(digest !== undefined);
      await utimes(folder.blob(digest), used, used);
    }
    const evicted: Digest[] = [];
    await using store = await openStore(path, {
      quota: 4 * MIB,
      onEvict: ({ digest }) => evicted.push(digest),
    });
    await addBlob(store, seededBytes(2 * MIB, 'e'));
    assert.deepEqual(evicted, [digests[1], digests[3]]);
    assert.ok(store.usage().blobBytes <= 4 * MIB);
  });

  it('never evicts a blob that is being read, and reports that it is full if no other is left', async () => {
    await using store = await openStore(fresh(), { quota: 2 * MIB });
    const digest = await addBlob(store, seededBytes(1.5 * MIB));
    {
      await using blob = await store.open(digest);
      assert.ok(blob !== undefined);
      await assert.rejects(store.ingest(blobAt(digestOf(Buffer.from('x'))), 1 * MIB), (error) =>
        isWeirError(error, 'store_full'),
      );
      assert.notEqual(await store.stat(digest), undefined);
    }
    await using ingest = await store.ingest(blobAt(digestOf(Buffer.from('x'))), 1 * MIB);
    assert.equal(ingest.layout.size, 1 * MIB);
    assert.notEqual(await store.stat(digest), undefined, 'no byte has come yet');
    await ingest.write(0, [seededBytes(600 * KIB)]);
    assert.equal(await store.stat(digest), undefined);
  });

  it('admits two large blobs that come at once only if both may end', async () => {
    await using store = await openStore(fresh(), { quota: 1 * MIB });
    const results = await Promise.allSettled(
      ['a', 'b'].map((seed) => store.ingest(blobAt(digestOf(Buffer.from(seed))), 700 * KIB)),
    );
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected'],
    );
  });

  it('never holds more than the quota, however many blobs arrive at once', async () => {
    await using store = await openStore(fresh(), { quota: 4 * MIB });
    const bytes = ['a', 'b', 'c', 'd', 'e', 'f'].map((seed) => seededBytes(1 * MIB, seed));
    await Promise.allSettled(
      bytes.map(async (each) => {
        await using ingest = await store.ingest(blobAt(digestOf(each)), each.length);
        for (let at = 0; at < each.length; at += 128 * KIB) {
          await ingest.write(at, [each.subarray(at, at + 128 * KIB)]);
          const { blobBytes, partialBytes } = store.usage();
          assert.ok(blobBytes + partialBytes <= 4 * MIB, `${blobBytes} + ${partialBytes}`);
        }
        await ingest.commit();
      }),
    );
    assert.ok(store.usage().blobs >= 3);
  });

  it('evicts nothing for an announced size, and little for a registry that has delivered nothing', async () => {
    const hasDelivered = (registry: string): boolean =>
      !registry.startsWith('unknown') && registry !== 'another.test';
    await using store = await openStore(fresh(), { quota: 8 * MIB, hasDelivered });
    const kept = await Promise.all(['a', 'b', 'c'].map((seed) => addBlob(store, seededBytes(2 * MIB, seed))));
    const of = (seed: string, registry: string): RegistryBlob =>
      blobAt(digestOf(Buffer.from(seed)), registry);
    await assert.rejects(store.ingest(of('x', 'unknown.test'), 8 * MIB), isFull, 'more than its share');
    await using first = await store.ingest(of('x', 'unknown.test'), 2 * MIB);
    await using second = await store.ingest(of('y', 'another.test'), 2 * MIB);
    await first.write(0, [seededBytes(1 * MIB)]);
    await assert.rejects(
      second.write(0, [seededBytes(1 * MIB)]),
      isFull,
      'the share is that of all together',
    );
    await using large = await store.ingest(of('z', 'known.test'), 6 * MIB);
    for (const digest of kept) assert.notEqual(await store.stat(digest), undefined);
    await large.write(0, [seededBytes(4 * MIB)]);
    assert.ok(store.usage().blobs < kept.length, 'bytes of a known registry take room');
  });

  it('evicts the partial blobs of the registry that needs room before whole blobs', async () => {
    await using store = await openStore(fresh(), { quota: 4 * MIB });
    const whole = await addBlob(store, seededBytes(2 * MIB, 'whole'));
    {
      await using half = await store.ingest(blobAt(digestOf(Buffer.from('half'))), 2 * MIB);
      await half.write(0, [seededBytes(1.5 * MIB)]);
    }
    await using next = await store.ingest(blobAt(digestOf(Buffer.from('next'))), 2 * MIB);
    await next.write(0, [seededBytes(1 * MIB)]);
    assert.notEqual(await store.stat(whole), undefined);
    assert.equal(await store.resume(blobAt(digestOf(Buffer.from('half')))), undefined);
  });

  it('keeps the partial blobs of two registries apart, and one copy of a blob that both deliver', async () => {
    const path = fresh();
    const bytes = seededBytes(500_000);
    const digest = digestOf(bytes);
    {
      await using store = await openStore(path);
      await using one = await store.ingest(blobAt(digest, 'one.test'), bytes.length);
      await one.write(0, [bytes.subarray(0, 300_000)]);
      await using other = await store.ingest(blobAt(digest, 'other.test'), bytes.length);
      assert.equal(other.readable(0), 0);
    }
    await using store = await openStore(path);
    assert.equal((await store.resume(blobAt(digest, 'other.test')))?.readable(0), 0);
    assert.equal(await store.resume(blobAt(digest, 'third.test')), undefined);
    await using one = await store.ingest(blobAt(digest, 'one.test'), bytes.length);
    assert.equal(one.presentBytes, 2 * one.layout.chunkSize);
    await one.write(one.presentBytes, [bytes.subarray(one.presentBytes)]);
    await using third = await store.ingest(blobAt(digest, 'third.test'), bytes.length);
    await third.write(0, [bytes]);
    await one.commit();
    await third.commit();
    assert.ok((await readAll(third)).equals(bytes), 'it stays readable');
    assert.equal(store.usage().blobBytes, bytes.length);
    await using blob = await store.open(digest);
    assert.ok(blob !== undefined && (await readAll(blob)).equals(bytes));
  });

  it('drops partial blobs whose registry it does not know, and reports it once', async () => {
    const path = fresh();
    const folder = new DataFolder(path);
    await folder.create();
    const old = folder.partial(digestOf(Buffer.from('x')).replace(':', '-'));
    for (const file of [old, `${old}.chunks`]) await writeFile(file, 'of the first version');
    const problems: string[] = [];
    await using store = await openStore(path, { onProblem: (message) => problems.push(message) });
    assert.deepEqual(await readdir(folder.partials), []);
    assert.match(problems.join('\n'), /^2 files that are no partial blobs/);
    assert.equal(store.usage().partials, 0);
  });

  it('starts even if there are folders or dangling or foreign links among its files', async () => {
    const path = fresh();
    const folder = new DataFolder(path);
    await folder.create();
    const outside = temp.join('outside');
    await writeFile(outside, 'alive');
    const digests = ['a', 'b', 'c', 'd'].map((text) => digestOf(Buffer.from(text)));
    const blobs = digests.map((digest) => blobAt(digest));
    const partials = blobs.map((blob) => folder.partial(partialName(blob)));
    const [first = '', second = '', third = '', fourth = ''] = partials;
    await symlink('/nowhere', first);
    await symlink(outside, second);
    await mkdir(third);
    await writeFile(fourth, 'd');
    await mkdir(`${fourth}.chunks`);
    const [lost, map] = digests.map((digest) => [folder.blob(digest), folder.chunkMap(digest)] as const);
    await symlink('/nowhere', lost?.[0] ?? '');
    await writeFile(map?.[0] ?? '', 'b');
    await mkdir(map?.[1] ?? '');
    await using store = await openStore(path);
    assert.deepEqual(store.usage().blobs, 1);
    for (const blob of blobs) assert.equal(await store.resume(blob), undefined);
    const found = await store.open(digestOf(Buffer.from('b')));
    assert.ok(found !== undefined && (await readAll(found)).toString() === 'b');
    await found[Symbol.asyncDispose]();
    await writeFile(map?.[0] ?? '', 'B');
    await using again = await openStore(path);
    assert.equal(await again.open(digestOf(Buffer.from('b'))), undefined); // another content by now: dropped with its map
    assert.equal(await readFile(outside, 'utf8'), 'alive');
  });

  it('takes chunks from the memory of byte workers, and refuses those with another hash', async () => {
    await using store = await openStore(fresh());
    const bytes = seededBytes(700_000);
    const files = filesInside();
    await using ingest = await store.ingest(blobAt(digestOf(bytes)), bytes.length);
    const { layout } = ingest;
    const progress = new Progress(ingest.content.progress);
    const hold = (index: number): Promise<HeldChunk> =>
      files.hold(bytes.subarray(layout.start(index), layout.end(index)));
    const wrong = await hold(1);
    assert.equal(await ingest.writeChunk(0, wrong, (await hold(0)).hash), undefined);
    assert.equal(ingest.has(0), false);
    for (let index = layout.count - 1; index >= 0; index--) {
      assert.equal(progress.prefix, 0);
      const chunk = await hold(index);
      assert.deepEqual(await ingest.writeChunk(index, chunk, chunk.hash), chunk.hash);
    }
    assert.equal(progress.prefix, bytes.length);
    assert.equal(progress.isWhole, false);
    await ingest.commit();
    assert.equal(progress.isWhole, true);
    await using blob = await store.open(digestOf(bytes));
    assert.ok(blob !== undefined && (await readAll(blob)).equals(bytes));
  });

  it('lends its file to a writer of consecutive bytes, which goes on where the last one stopped', async () => {
    await using store = await openStore(fresh());
    const bytes = seededBytes(700_000);
    await using ingest = await store.ingest(blobAt(digestOf(bytes)), bytes.length);
    const { layout } = ingest;
    const write = async (pour: Pour, end: number): Promise<void> => {
      const { file, start } = pour;
      await pour.reserve(end);
      writeSync(file.fd, bytes, start, end - start, start);
      for (let index = layout.indexOf(start); index < layout.count && layout.end(index) <= end; index++) {
        const chunk = bytes.subarray(layout.start(index), layout.end(index));
        pour.wrote(index, createHash('sha256').update(chunk).digest());
      }
      new Progress(file.progress).advance(end);
      pour.ended(end);
    };
    const half = layout.start(2) + 1000;
    await write(ingest.pour(0), half);
    assert.deepEqual(ingest.nextGap(), { start: half, end: bytes.length });
    assert.equal(ingest.readable(0), half);
    await write(ingest.pour(half), bytes.length);
    assert.equal(ingest.nextGap(), undefined);
    await ingest.commit();
    await using blob = await store.open(digestOf(bytes));
    assert.ok(blob !== undefined && (await readAll(blob)).equals(bytes));
  });

  it('forgets partial blobs that are too old', async () => {
    const path = fresh();
    const digest = digestOf(Buffer.from('old'));
    {
      await using store = await openStore(path);
      await using ingest = await store.ingest(blobAt(digest), 1_000_000);
      await ingest.write(0, [seededBytes(300_000)]);
    }
    const old = new Date(Date.now() - 7_200_000);
    await utimes(new DataFolder(path).partial(partialName(blobAt(digest))), old, old);
    await using store = await openStore(path);
    assert.equal(await store.resume(blobAt(digest)), undefined);
    assert.deepEqual(await readdir(join(path, 'partial')), []);
  });

  it('refuses a folder that cannot be used', async () => {
    const path = fresh();
    await writeFile(path, 'a file, not a folder');
    await assert.rejects(openStore(path), (error) => isWeirError(error, 'store_unusable'));
    assert.ok((await stat(path)).isFile());
  });
});
