/** Archives that are written are those that are read. */
import assert from 'node:assert/strict';
import { rm, symlink, writeFile } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { readImageArchive } from '../../../src/archive/image-archive.ts';
import { OciArchiveWriter, packedLayout } from '../../../src/archive/oci-archive.ts';
import { formatImageReference, parseImageReference } from '../../../src/oci/reference.ts';
import { GIB } from '../../../src/util/clock.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { inParts, MemorySink } from '../../support/archives.ts';
import { buildImage, type TestImage } from '../../support/images.ts';
import { writeLayout } from '../../support/push.ts';
import { TempDir } from '../../support/temp.ts';

describe('an OCI archive that is written', () => {
  let image: TestImage;

  before(async () => {
    image = await buildImage({ seed: 'written', layers: [300_000, 10] });
  });

  async function written(name: string): Promise<Buffer> {
    const output = new PassThrough();
    const whole = buffer(output);
    const archive = new OciArchiveWriter(output, true);
    await archive.document(image.digest, image.bytes);
    await archive.document(image.digest, image.bytes); // an index may name a manifest twice
    for (const { digest, bytes } of image.blobs) {
      archive.begin(digest, bytes.length);
      for await (const part of inParts(bytes)) await archive.write(part);
      archive.end();
    }
    const { mediaType, digest, size } = image;
    await archive.finish({ mediaType, digest, size }, parseImageReference(name));
    return await whole;
  }

  it('is read with the same digest and name, and is the same each time', async () => {
    const archive = await written('registry.test/app:v1');
    const sink = new MemorySink();
    const [found] = await readImageArchive(inParts(archive), sink, GIB);
    assert.equal(found?.digest, image.digest);
    assert.deepEqual(found.names.map(formatImageReference), ['registry.test/app:v1']);
    for (const { digest, bytes } of image.blobs) assert.deepEqual(sink.blobs.get(digest), Buffer.from(bytes));
    assert.deepEqual(await written('registry.test/app:v1'), archive);
  });

  it('has no name if the image was named by its digest', async () => {
    const archive = await written(`registry.test/app@${image.digest}`);
    const [found] = await readImageArchive(inParts(archive), new MemorySink(), GIB);
    assert.deepEqual(found?.names, []);
  });

  it('fails with its output', async () => {
    const output = new PassThrough();
    const archive = new OciArchiveWriter(output, true);
    output.destroy(new Error('no space'));
    const writing = (async (): Promise<void> => {
      archive.begin(image.digest, GIB);
      for (;;) await archive.write(Buffer.alloc(100_000));
    })();
    await assert.rejects(writing, /no space/);
    await archive.abandon();
  });
});

describe('the folder of an OCI layout', () => {
  it('is packed, and read', async () => {
    await using dir = await TempDir.create('layout');
    const image = await buildImage({ seed: 'folder', layers: [200_000] });
    await writeLayout(dir.path, 'v1', image);
    const [found] = await readImageArchive(packedLayout(dir.path), new MemorySink(), GIB);
    assert.equal(found?.digest, image.digest);
  });

  it('is refused without its lists, and without following links', async () => {
    await using dir = await TempDir.create('no-layout');
    const pack = async (): Promise<unknown> => await Array.fromAsync(packedLayout(dir.path));
    const isInvalid = (error: unknown): boolean => isWeirError(error, 'archive_invalid');
    await assert.rejects(pack(), isInvalid);
    await writeFile(dir.join('oci-layout'), '{}');
    await symlink('/etc/passwd', dir.join('index.json'));
    await assert.rejects(pack(), isInvalid);
    await rm(dir.join('index.json'));
  });
});
