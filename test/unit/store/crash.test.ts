/** The store's state machine with a crash at every step: it never hands out a wrong byte. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { KIB, systemClock } from '../../../src/util/clock.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { DataFolder } from '../../../src/store/data-folder.ts';
import { FsStore } from '../../../src/store/fs-store.ts';
import { filesInside } from '../../support/byte-workers.ts';
import { readAll, seededBytes } from '../../support/bytes.ts';
import { dieAt } from '../../support/crash-fs.ts';
import { TempDir } from '../../support/temp.ts';
import { blobAt } from '../../support/registry-blob.ts';

interface Life {
  /** The change of the disk at which the process dies. */
  readonly dies: number;
  /** Bytes of each write. */
  readonly step: number;
  /** Chunks are written from the last to the first. */
  readonly backwards: boolean;
}

const openStore = (path: string): Promise<FsStore> =>
  FsStore.open({
    folder: new DataFolder(path),
    quota: 1024 * KIB,
    partialMaxAge: 1e9,
    clock: systemClock,
    files: filesInside(),
  });

/** The work of a node on a blob: resume it, fetch the missing chunks, commit. */
async function fetchInto(
  store: FsStore,
  bytes: Buffer,
  { step, backwards }: Omit<Life, 'dies'>,
): Promise<void> {
  const digest = digestOf(bytes);
  if ((await store.stat(digest)) !== undefined) return;
  const ingest = await store.ingest(blobAt(digest), bytes.length);
  const indexes = Array.from({ length: ingest.layout.count }, (_, index) => index);
  for (const index of backwards ? indexes.toReversed() : indexes) {
    if (ingest.has(index)) continue;
    const end = ingest.layout.end(index);
    for (let at = ingest.layout.start(index); at < end; at += step) {
      await ingest.write(at, [bytes.subarray(at, Math.min(end, at + step))]);
    }
  }
  await ingest.commit();
  await ingest[Symbol.asyncDispose]();
}

/** All answers that a store may give after a crash. */
async function checkInvariants(store: FsStore, bytes: Buffer): Promise<void> {
  const digest = digestOf(bytes);
  const blob = await store.open(digest);
  if (blob !== undefined) {
    assert.ok((await readAll(blob)).equals(bytes), 'a visible blob is whole and right');
    await blob[Symbol.asyncDispose]();
    return;
  }
  const partial = await store.resume(blobAt(digest));
  if (partial === undefined) return;
  for (let index = 0; index < partial.layout.count; index++) {
    if (!partial.has(index)) continue;
    const chunk = Buffer.alloc(partial.layout.length(index));
    assert.equal(await partial.read(chunk, partial.layout.start(index)), chunk.length);
    assert.ok(chunk.equals(bytes.subarray(partial.layout.start(index), partial.layout.end(index))));
  }
  await partial[Symbol.asyncDispose]();
}

/** Whether the process died before it was done. */
function live(path: string, bytes: Buffer, { dies, ...how }: Life): Promise<boolean> {
  return dieAt(dies, async () => {
    await using store = await openStore(path); // closing does not change the disk: the kernel would do it, too
    await fetchInto(store, bytes, how);
  });
}

describe('FsStore, killed at any step', () => {
  let temp: TempDir;
  let count = 0;

  before(async () => {
    temp = await TempDir.create('crash');
  });
  after(() => temp[Symbol.asyncDispose]());

  it('shows only whole and right blobs, keeps only right chunks, and goes on to the end', async () => {
    const life = fc.record({
      dies: fc.nat({ max: 30 }),
      step: fc.integer({ min: 50_000, max: 400_000 }),
      backwards: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(life, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 0, max: 900_000 }),
        async (lives, size) => {
          const path = temp.join(String(count++));
          const bytes = seededBytes(size);
          for (const { dies, ...how } of lives) {
            await live(path, bytes, { dies, ...how });
            await using store = await openStore(path);
            await checkInvariants(store, bytes);
          }
          await using store = await openStore(path);
          await fetchInto(store, bytes, { step: 200_000, backwards: false });
          await using blob = await store.open(digestOf(bytes));
          assert.ok(blob !== undefined && (await readAll(blob)).equals(bytes));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('dies at each single step of one blob', async () => {
    const bytes = seededBytes(600_000);
    let died = true;
    let step = 0;
    for (; died; step++) {
      const path = temp.join(String(count++));
      const how = { step: 150_000, backwards: false };
      died = await live(path, bytes, { dies: step, ...how });
      await using store = await openStore(path);
      await checkInvariants(store, bytes);
      await fetchInto(store, bytes, how);
      assert.equal((await store.stat(digestOf(bytes)))?.size, bytes.length);
    }
    assert.ok(step > 15, `the crashes hit ${step} steps`);
  });
});
