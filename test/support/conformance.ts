/** The behaviour of every store: one suite, run by each implementation's test. */
import assert from 'node:assert/strict';
import { KIB, MIB } from '../../src/util/clock.ts';
import { isWeirError, WeirError } from '../../src/util/errors.ts';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import type { BlobInfo, BlobProvider, Store } from '../../src/store/store.ts';
import { readAll, seededBytes } from './bytes.ts';
import { blobAt } from './registry-blob.ts';

/** A provider, and a way to bring blobs into it. */
export interface ProviderUnderTest extends AsyncDisposable {
  readonly provider: BlobProvider;
  /** Adds a blob; resolves when the provider should know it. */
  add(bytes: Uint8Array): Promise<Digest>;
  /** Removes a blob; resolves when the provider should know that it is gone. */
  remove(digest: Digest): Promise<void>;
}

const SIZES = [0, 1, 255, 256 * KIB, 256 * KIB + 1, 3 * MIB];

export function providerConformance(make: () => Promise<ProviderUnderTest>): void {
  for (const size of SIZES) {
    it(`hands out a blob of ${size} bytes unchanged`, async () => {
      await using made = await make();
      const bytes = seededBytes(size);
      const digest = await made.add(bytes);
      assert.deepEqual(await made.provider.stat(digest), { digest, size });
      await using blob = await made.provider.open(digest);
      assert.ok(blob !== undefined);
      assert.equal(blob.size, size);
      assert.equal(blob.source, made.provider.name);
      assert.ok((await readAll(blob)).equals(bytes));
      const middle = Math.floor(size / 2);
      assert.ok((await readAll(blob, middle)).equals(bytes.subarray(middle)));
    });
  }

  it('knows no blob that it does not have', async () => {
    await using made = await make();
    const digest = digestOf(Buffer.from('absent'));
    assert.equal(await made.provider.stat(digest), undefined);
    assert.equal(await made.provider.open(digest), undefined);
  });

  it('lists its blobs', async () => {
    await using made = await make();
    const digests = [await made.add(seededBytes(10, 'a')), await made.add(seededBytes(20, 'b'))];
    const listed: BlobInfo[] = [];
    for await (const info of made.provider.list()) listed.push(info);
    const sizes = new Map(listed.map(({ digest, size }) => [digest, size]));
    assert.deepEqual(
      sizes,
      new Map([
        [digests[0], 10],
        [digests[1], 20],
      ]),
    );
  });

  it('lets an open reader finish after the blob is gone', async () => {
    await using made = await make();
    const bytes = seededBytes(700_000);
    const digest = await made.add(bytes);
    await using blob = await made.provider.open(digest);
    assert.ok(blob !== undefined);
    await made.remove(digest);
    assert.equal(await made.provider.open(digest), undefined);
    assert.ok((await readAll(blob)).equals(bytes));
  });
}

export function storeConformance(make: () => Promise<Store>): void {
  describe('as a provider', () => {
    providerConformance(async () => {
      const store = await make();
      return {
        provider: store,
        add: (bytes) => addBlob(store, bytes),
        remove: async (digest) => void (await store.delete(digest)),
        [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
      };
    });
  });

  it('shows a blob only once it is committed', async () => {
    await using store = await make();
    const bytes = seededBytes(600_000);
    const digest = digestOf(bytes);
    await using ingest = await store.ingest(blobAt(digest), bytes.length);
    await ingest.write(0, [bytes]);
    assert.equal(await store.open(digest), undefined);
    assert.equal(await store.stat(digest), undefined);
    await ingest.commit();
    assert.equal((await store.stat(digest))?.size, bytes.length);
    assert.ok((await readAll(ingest)).equals(bytes), 'the ingest stays readable');
  });

  it('takes chunks in any order, and shows bytes up to the first gap', async () => {
    await using store = await make();
    const bytes = seededBytes(500_000);
    await using ingest = await store.ingest(blobAt(digestOf(bytes)), bytes.length);
    const { layout } = ingest;
    assert.equal(layout.count, 4);
    const write = (index: number): Promise<void> =>
      ingest.write(layout.start(index), [bytes.subarray(layout.start(index), layout.end(index))]);
    await write(2);
    assert.equal(ingest.readable(0), 0);
    assert.deepEqual(ingest.nextGap(), { start: 0, end: layout.start(2) });
    await write(0);
    assert.equal(ingest.readable(0), layout.chunkSize);
    assert.deepEqual(ingest.nextGap(), { start: layout.start(1), end: layout.start(2) });
    await write(3);
    await write(1);
    assert.equal(ingest.readable(1), bytes.length - 1);
    assert.equal(ingest.nextGap(), undefined);
    await ingest.commit();
    await using blob = await store.open(ingest.digest);
    assert.ok(blob !== undefined && (await readAll(blob)).equals(bytes));
  });

  it('takes whole chunks in any order, all at once, and checks each against its hash', async () => {
    await using store = await make();
    const bytes = seededBytes(5 * MIB);
    await using ingest = await store.ingest(blobAt(digestOf(bytes)), bytes.length);
    const { layout } = ingest;
    const chunk = (index: number): Buffer => bytes.subarray(layout.start(index), layout.end(index));
    const hash = (index: number): Buffer =>
      Buffer.from(digestOf(chunk(index)).slice('sha256:'.length), 'hex');
    assert.equal(await ingest.writeChunk(1, chunk(1), hash(0)), undefined);
    assert.ok(!ingest.has(1), 'nothing was written');
    const order = Array.from({ length: layout.count }, (_, i) => (i * 7) % layout.count);
    const written = await Promise.all(
      order.map((index) => ingest.writeChunk(index, chunk(index), hash(index))),
    );
    written.forEach((found, i) => assert.deepEqual(Buffer.from(found ?? []), hash(order[i] ?? 0)));
    // To write a chunk twice does no harm, nor does a write without an expected hash.
    assert.ok(await ingest.writeChunk(0, chunk(0)));
    await ingest.commit();
    assert.ok((await readAll(ingest)).equals(bytes));
  });

  it('finds a wrong whole digest, in any order of chunks', async () => {
    await using store = await make();
    const bytes = seededBytes(2 * MIB);
    await using ingest = await store.ingest(blobAt(digestOf(seededBytes(2 * MIB, 'another'))), bytes.length);
    const { layout } = ingest;
    for (let index = layout.count - 1; index >= 0; index--) {
      await ingest.writeChunk(index, bytes.subarray(layout.start(index), layout.end(index)));
    }
    await assert.rejects(ingest.commit(), (error) => isWeirError(error, 'digest_mismatch'));
    assert.equal(ingest.presentBytes, 0);
  });

  it('takes a chunk in writes that end anywhere', async () => {
    await using store = await make();
    const bytes = seededBytes(600_001);
    await using ingest = await store.ingest(blobAt(digestOf(bytes)), bytes.length);
    for (let at = 0; at < bytes.length; at += 77_777) {
      await ingest.write(at, [bytes.subarray(at, at + 33_333), bytes.subarray(at + 33_333, at + 77_777)]);
      assert.equal(ingest.readable(0), Math.min(bytes.length, at + 77_777));
    }
    await ingest.commit();
  });

  it('keeps whole chunks of a closed ingest for the next one', async () => {
    await using store = await make();
    const bytes = seededBytes(500_000);
    const digest = digestOf(bytes);
    {
      await using ingest = await store.ingest(blobAt(digest), bytes.length);
      await ingest.write(0, [bytes.subarray(0, 300_000)]);
    }
    await using resumed = await store.resume(blobAt(digest));
    assert.ok(resumed !== undefined);
    assert.equal(resumed.presentBytes, 2 * resumed.layout.chunkSize);
    assert.deepEqual(resumed.nextGap(), { start: 2 * resumed.layout.chunkSize, end: bytes.length });
    await resumed.write(2 * resumed.layout.chunkSize, [bytes.subarray(2 * resumed.layout.chunkSize)]);
    await resumed.commit();
    await using blob = await store.open(digest);
    assert.ok(blob !== undefined && (await readAll(blob)).equals(bytes));
  });

  it('never shows a blob whose digest is wrong, and is empty again for another try', async () => {
    await using store = await make();
    const bytes = seededBytes(600_000);
    const digest = digestOf(bytes);
    await using ingest = await store.ingest(blobAt(digest), bytes.length);
    await ingest.write(0, [seededBytes(600_000, 'other')]);
    await assert.rejects(
      ingest.commit(),
      (error) => error instanceof WeirError && error.code === 'digest_mismatch',
    );
    assert.equal(await store.open(digest), undefined);
    assert.equal(ingest.presentBytes, 0);
    await ingest.write(0, [bytes]);
    await ingest.commit();
    assert.equal((await store.stat(digest))?.size, bytes.length);
  });

  it('refuses bytes after the end', async () => {
    await using store = await make();
    await using ingest = await store.ingest(blobAt(digestOf(Buffer.from('abc'))), 3);
    await assert.rejects(
      ingest.write(0, [Buffer.from('abcd')]),
      (error) => error instanceof WeirError && error.code === 'upstream_protocol',
    );
  });

  it('takes sha512 digests', async () => {
    await using store = await make();
    const bytes = seededBytes(5000);
    const digest = digestOf(bytes, 'sha512');
    await using ingest = await store.ingest(blobAt(digest), bytes.length);
    await ingest.write(0, [bytes]);
    await ingest.commit();
    assert.equal((await store.stat(digest))?.size, 5000);
  });

  it('reports its usage', async () => {
    await using store = await make();
    const digest = await addBlob(store, seededBytes(5000));
    assert.equal(store.usage().blobs, 1);
    assert.equal(store.usage().blobBytes, 5000);
    assert.equal(await store.delete(digest), true);
    assert.equal(await store.delete(digest), false);
    assert.equal(store.usage().blobBytes, 0);
  });
}

export async function addBlob(store: Store, bytes: Uint8Array): Promise<Digest> {
  const digest = digestOf(bytes);
  await using ingest = await store.ingest(blobAt(digest), bytes.length);
  await ingest.write(0, [bytes]);
  await ingest.commit();
  return digest;
}
