/** Work on files in byte workers: real threads, real files. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { KIB, MIB } from '../../../src/util/clock.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { ChunkLayout } from '../../../src/protocol/chunk-layout.ts';
import { ByteWorkers } from '../../../src/bytes/byte-workers.ts';
import { Files } from '../../../src/bytes/files.ts';
import { Progress } from '../../../src/util/progress.ts';
import { TempDir } from '../../support/temp.ts';

const SIZE = 3 * MIB + 5;

describe('byte workers: files', () => {
  let workers: ByteWorkers;
  let files: Files;
  let folder: TempDir;
  let file: FileHandle;
  const lost: string[] = [];

  beforeEach(async () => {
    folder = await TempDir.create('bytes');
    file = await open(join(folder.path, 'blob'), 'w+');
    lost.length = 0;
    workers = new ByteWorkers({ count: 2, onLost: ({ message }) => void lost.push(message) });
    files = new Files(workers);
  });

  afterEach(async () => {
    await workers[Symbol.asyncDispose]();
    await file.close();
    await folder[Symbol.asyncDispose]();
  });

  it('a chunk is hashed where it is held, written from there, and its place is free again', async () => {
    const bytes = randomBytes(256 * KIB);
    const chunk = await files.hold(bytes);
    assert.deepEqual(Buffer.from(chunk.hash), createHash('sha256').update(bytes).digest());
    await files.write(chunk, file.fd, 7);
    const read = Buffer.alloc(bytes.length);
    await file.read(read, 0, read.length, 7);
    assert.ok(read.equals(bytes));
    await assert.rejects(files.write(chunk, file.fd, 7), (error) => isWeirError(error, 'internal'));
  });

  it("a system's error keeps its code", async () => {
    const chunk = await files.hold(randomBytes(10));
    await assert.rejects(files.write(chunk, 9999, 0), { code: 'EBADF' });
  });

  it('the whole hash follows chunks that are written in any order, by any worker', async () => {
    const blob = randomBytes(SIZE);
    const layout = new ChunkLayout(SIZE);
    const progress = new Progress();
    const following = files.follow({
      fd: file.fd,
      size: SIZE,
      algorithm: 'sha256',
      progress: progress.memory,
    });
    const order = [...Array(layout.count).keys()].toSorted((a, b) => (a % 3) - (b % 3));
    const have = new Set<number>();
    for (const index of order) {
      const chunk = await files.hold(blob.subarray(layout.start(index), layout.end(index)));
      await files.write(chunk, file.fd, layout.start(index), following);
      have.add(index);
      let first = 0;
      while (have.has(first)) first++;
      progress.advance(first === layout.count ? SIZE : layout.start(first));
    }
    assert.equal(`sha256:${await following.hash}`, digestOf(blob));
  });

  it('a hash that is stopped fails, and an empty blob has one', async () => {
    const stopped = files.follow({
      fd: file.fd,
      size: 5,
      algorithm: 'sha512',
      progress: new Progress().memory,
    });
    stopped.stop();
    await assert.rejects(stopped.hash, (error) => isWeirError(error, 'aborted'));
    const empty = { fd: file.fd, size: 0, algorithm: 'sha512', progress: new Progress().memory } as const;
    assert.equal(`sha512:${await files.follow(empty).hash}`, digestOf(Buffer.of(), 'sha512'));
  });

  it('finds the chunks that have rotted, and surveys a file', async () => {
    const blob = randomBytes(SIZE);
    await file.write(blob);
    const content = { fd: file.fd, size: SIZE };
    const { whole, chunks } = await files.survey(content, digestOf(blob));
    assert.equal(`sha256:${whole}`, digestOf(blob));
    const layout = new ChunkLayout(SIZE);
    await file.write(Buffer.from('rot'), 0, 3, layout.start(4) + 100);
    const all = [...Array(layout.count).keys()];
    assert.deepEqual(
      await files.check(content, chunks, all),
      all.filter((index) => index !== 4),
    );
    await file.truncate(100);
    await assert.rejects(files.survey(content, digestOf(blob)), (error) =>
      isWeirError(error, 'store_corrupt'),
    );
  });

  it('hashes a part of a file, unless the file ends before', async () => {
    const blob = randomBytes(SIZE);
    await file.write(blob);
    const content = { fd: file.fd, size: SIZE };
    const expected = createHash('sha256').update(blob.subarray(7, MIB)).digest();
    assert.deepEqual(Buffer.from(await files.hash(content, 7, MIB)), expected);
    await assert.rejects(files.hash(content, SIZE - 5, SIZE + 1), (error) =>
      isWeirError(error, 'store_corrupt'),
    );
  });

  it('a worker that ends fails what it had in hand, and another takes its place', async () => {
    const chunk = await files.hold(randomBytes(10));
    const thread = workers.get(chunk.worker);
    const { hash } = files.follow({
      fd: file.fd,
      size: 5,
      algorithm: 'sha256',
      progress: new Progress().memory,
    });
    const other = files.follow({
      fd: file.fd,
      size: 5,
      algorithm: 'sha256',
      progress: new Progress().memory,
    });
    await thread.kill();
    await assert.rejects(Promise.all([hash, other.hash]), (error) => isWeirError(error, 'worker_lost'));
    assert.equal(lost.length, 1);
    assert.equal(workers.threads.length, 2);
    await assert.rejects(files.write(chunk, file.fd, 0), (error) => isWeirError(error, 'worker_lost'));
    await files.write(await files.hold(randomBytes(10)), file.fd, 0);
    other.stop();
  });
});
