/** Archives of images: good ones of each kind, and what is no such archive. */
import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import type { ArchivedImage } from '../../../src/archive/archive-content.ts';
import { readImageArchive } from '../../../src/archive/image-archive.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseManifest } from '../../../src/oci/manifest.ts';
import { formatImageReference } from '../../../src/oci/reference.ts';
import { GIB, MIB } from '../../../src/util/clock.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { buildImage, buildIndex, type TestImage } from '../../support/images.ts';
import {
  blobPath,
  dockerEntries,
  dockerParts,
  inParts,
  json,
  layoutEntries,
  MemorySink,
  tarOf,
  type Entry,
} from '../../support/archives.ts';

async function read(bytes: Uint8Array, sink = new MemorySink()): Promise<readonly ArchivedImage[]> {
  return await readImageArchive(inParts(bytes), sink, GIB);
}

const namesOf = ({ names }: ArchivedImage): readonly string[] => names.map(formatImageReference);

/** That the archive is refused with a message that says why. */
async function assertInvalid(bytes: Uint8Array, problem: RegExp): Promise<void> {
  await assert.rejects(read(bytes), (error: unknown) => {
    assert.ok(isWeirError(error, 'archive_invalid'), String(error));
    assert.match(error.message, problem);
    return true;
  });
}

describe('an image archive that is good', () => {
  let image: TestImage;

  before(async () => {
    image = await buildImage({ seed: 'archive', layers: [100_000, 2_000] });
  });

  it('is an OCI layout, whose image has all its blobs', async () => {
    const sink = new MemorySink();
    const bytes = await tarOf(
      layoutEntries(image, { 'org.opencontainers.image.ref.name': 'registry.test/app:v1' }),
    );
    const [found, ...others] = await read(bytes, sink);
    assert.ok(found !== undefined && others.length === 0);
    assert.equal(found.digest, image.digest);
    assert.deepEqual(namesOf(found), ['registry.test/app:v1']);
    const expected = [image, ...image.blobs].map(({ digest }) => digest);
    assert.deepEqual(found.blobs.map(({ digest }) => digest).toSorted(), expected.toSorted());
    for (const digest of expected) assert.ok(sink.blobs.has(digest));
  });

  it('is compressed with gzip as well', async () => {
    const [found] = await read(gzipSync(await tarOf(layoutEntries(image))));
    assert.equal(found?.digest, image.digest);
  });

  it("takes containerd's whole name before the tag beside it, and a bare tag for no name", async () => {
    const whole = { 'io.containerd.image.name': 'docker.io/library/app:v2' };
    const tag = { 'org.opencontainers.image.ref.name': 'v2' };
    const [both] = await read(await tarOf(layoutEntries(image, { ...whole, ...tag })));
    assert.deepEqual(both && namesOf(both), ['docker.io/library/app:v2']);
    const [bare] = await read(await tarOf(layoutEntries(image, tag)));
    assert.deepEqual(bare?.names, []);
  });

  it('has an index, of which one platform may be missing', async () => {
    const other = await buildImage({
      seed: 'other',
      platform: { os: 'linux', architecture: 's390x' },
    });
    const index = buildIndex([image, other]);
    const entries = layoutEntries({ ...index, children: [image] });
    const [found] = await read(await tarOf(entries));
    assert.equal(found?.digest, index.digest);
    assert.ok(!found.blobs.some(({ digest }) => digest === other.digest));
  });

  it('is of docker save, and gets the same manifest each time', async () => {
    const parts = dockerParts('one layer', 'another layer');
    const sink = new MemorySink();
    const [found] = await read(await tarOf(dockerEntries(parts, 'app:v1', 'registry.test/app:v1')), sink);
    assert.ok(found !== undefined);
    assert.deepEqual(namesOf(found), ['docker.io/library/app:v1', 'registry.test/app:v1']);
    const manifest = parseManifest(await sink.read(found.digest));
    assert.ok(manifest.kind === 'image');
    assert.equal(manifest.config.digest, digestOf(Buffer.from(parts.config)));
    assert.deepEqual(
      manifest.layers.map(({ digest, size, mediaType }) => ({ digest, size, mediaType })),
      parts.layers.map((bytes) => ({
        digest: digestOf(bytes),
        size: bytes.length,
        mediaType: 'application/vnd.oci.image.layer.v1.tar',
      })),
    );
    const [again] = await read(await tarOf(dockerEntries(parts).toReversed()));
    assert.equal(again?.digest, found.digest);
  });

  it('is of docker save with layers that are links, or compressed', async () => {
    const { config, configPath, layers } = dockerParts('layer', 'layer');
    const Layers = ['a/layer.tar', 'b/layer.tar'];
    const entries: Entry[] = [
      [configPath, config],
      ['a/layer.tar', layers[0]],
      [{ name: 'b/layer.tar', type: 'symlink', linkname: '../a/layer.tar' }],
      ['manifest.json', json([{ Config: configPath, RepoTags: null, Layers }])],
    ];
    const sink = new MemorySink();
    const [linked] = await read(await tarOf(entries), sink);
    assert.equal(linked?.blobs.length, 3);
    const zipped = gzipSync('layer');
    entries[1] = ['a/layer.tar', zipped];
    const [compressed] = await read(await tarOf(entries), sink);
    const manifest = parseManifest(await sink.read(compressed?.digest ?? digestOf(zipped)));
    assert.ok(manifest.kind === 'image');
    assert.equal(manifest.layers[0]?.mediaType, 'application/vnd.oci.image.layer.v1.tar+gzip');
  });
});

describe('what is no image archive', () => {
  let image: TestImage;
  let good: readonly Entry[];

  before(async () => {
    image = await buildImage({ seed: 'bad', layers: [50_000] });
    good = layoutEntries(image);
  });

  const without = (path: string): readonly Entry[] => good.filter(([name]) => name !== path);

  it('is nothing, text, random bytes', async () => {
    await assertInvalid(Buffer.of(), /it is empty/);
    await assertInvalid(Buffer.from('hello'), /cut short, or no tar/);
    await assertInvalid(Buffer.alloc(10_240, 'x'), /no tar archive/);
  });

  it('is compressed with anything but gzip, or damaged by it', async () => {
    await assertInvalid(Buffer.from('28b52ffd00000000', 'hex'), /compressed with zstd/);
    await assertInvalid(Buffer.from('fd377a585a00', 'hex'), /compressed with xz/);
    const zipped = gzipSync(await tarOf(good));
    await assertInvalid(zipped.subarray(0, zipped.length / 2), /gzip data is damaged or cut short/);
    await assertInvalid(
      Buffer.concat([zipped.subarray(0, 20), Buffer.alloc(500, 7)]),
      /gzip data is damaged/,
    );
  });

  it('is cut short', async () => {
    const whole = await tarOf(good);
    await assertInvalid(whole.subarray(0, whole.length / 2), /cut short/);
  });

  it('is larger than the store, also after decompression', async () => {
    const bomb = gzipSync(await tarOf([['zeros', Buffer.alloc(8 * MIB)]]));
    assert.ok(bomb.length < 100_000);
    const reading = readImageArchive(inParts(bomb), new MemorySink(), MIB);
    await assert.rejects(reading, /more than the 1048576 bytes/);
  });

  it('has no list of images', async () => {
    await assertInvalid(
      await tarOf([['src/main.c', 'int main() {}']]),
      /neither index.json .* nor manifest.json/,
    );
    await assertInvalid(await tarOf([]), /neither index.json/);
    await assertInvalid(await tarOf([['index.json', '{"manifests":[]}']]), /it has no image/);
  });

  it('has lists that are no JSON, or of another form', async () => {
    await assertInvalid(await tarOf([['index.json', 'manifests: []']]), /index.json is not JSON/);
    await assertInvalid(await tarOf([['index.json', '{}']]), /index.json is no image index/);
    await assertInvalid(await tarOf([['manifest.json', '{}']]), /manifest.json is no list/);
    const future: readonly Entry[] = [...without('oci-layout'), ['oci-layout', '{"imageLayoutVersion":"2"}']];
    await assertInvalid(await tarOf(future), /another version than 1.0.0/);
    const digest = json({ manifests: [{ digest: 'sha256:12', size: 1 }] });
    await assertInvalid(await tarOf([['index.json', digest]]), /no digest/);
  });

  it('lacks a blob, or has one of another size than listed', async () => {
    const [config, layer] = image.blobs;
    assert.ok(config !== undefined && layer !== undefined);
    await assertInvalid(await tarOf(without(blobPath(layer.digest))), /the layer sha256:\w+ is missing/);
    await assertInvalid(await tarOf(without(blobPath(config.digest))), /the config sha256:\w+ is missing/);
    await assertInvalid(await tarOf(without(blobPath(image.digest))), /the manifest sha256:\w+ is missing/);
    const list = json({ manifests: [{ digest: image.digest, size: image.size + 1 }] });
    await assertInvalid(await tarOf([...without('index.json'), ['index.json', list]]), /is listed with/);
  });

  it('has an index of nothing that is there', async () => {
    const index = buildIndex([image]);
    await assertInvalid(await tarOf(layoutEntries({ ...index, children: [] })), /no manifest that is in/);
  });

  it('has bytes under a digest that they do not have', async () => {
    const [config] = image.blobs;
    const entries = good.map(([name, bytes]): Entry =>
      name === blobPath(config?.digest ?? '') ? [name, Buffer.alloc(config?.size ?? 0, 'x')] : [name, bytes],
    );
    await assert.rejects(read(await tarOf(entries)), (error) => isWeirError(error, 'digest_mismatch'));
    await assertInvalid(await tarOf([['blobs/sha256/abc', 'x']]), /not the path of a blob/);
    await assertInvalid(await tarOf([['blobs/md5/../x', 'x']]), /leads out of the archive/);
  });

  it('has paths and links that lead elsewhere', async () => {
    for (const name of ['../../etc/passwd', 'a/../../b', '..\\x'])
      await assertInvalid(await tarOf([[name, 'x'], ...good]), /leads out of the archive/);
    for (const linkname of ['/etc/passwd', '../../etc/passwd']) {
      const link: Entry = [{ name: 'a/layer.tar', type: 'symlink', linkname }];
      await assertInvalid(await tarOf([link, ...good]), /leads out of the archive/);
    }
    const device: Entry = [{ name: 'dev/sda', type: 'block-device' }];
    await assertInvalid(await tarOf([device, ...good]), /neither a file, a folder nor a link/);
  });

  it('has a path twice, or links in a circle', async () => {
    await assertInvalid(await tarOf([...good, ['index.json', '{}']]), /is in it twice/);
    const { config, configPath } = dockerParts('layer');
    const entries: readonly Entry[] = [
      [configPath, config],
      [{ name: 'a', type: 'symlink', linkname: 'b' }],
      [{ name: 'b', type: 'symlink', linkname: 'a' }],
      ['manifest.json', json([{ Config: configPath, Layers: ['a'] }])],
    ];
    await assertInvalid(await tarOf(entries), /leads nowhere/);
  });

  it('is of docker save, and its config does not fit its layers', async () => {
    const parts = dockerParts('one', 'two');
    const fewer = { ...parts, layers: parts.layers.slice(1) };
    await assertInvalid(await tarOf(dockerEntries(fewer)), /1 layers, and 2 in the config/);
    const swapped = { ...parts, layers: parts.layers.toReversed() };
    await assertInvalid(await tarOf(dockerEntries(swapped)), /layer 1 has the digest/);
    const lost = dockerEntries(parts).filter(([name]) => name !== '1/layer.tar');
    await assertInvalid(await tarOf(lost), /"1\/layer.tar" is missing/);
    await assertInvalid(await tarOf(dockerEntries(parts, 'UPPER:case')), /not a repository name/);
    const nonsense = { ...parts, config: 'no config' };
    await assertInvalid(await tarOf(dockerEntries(nonsense)), /is not JSON/);
  });

  it('passes the failure of its source on', async () => {
    async function* cut(): AsyncGenerator<Uint8Array, void> {
      yield await Promise.resolve(Buffer.alloc(512));
      throw new Error('the client went away');
    }
    await assert.rejects(readImageArchive(cut(), new MemorySink(), GIB), /the client went away/);
  });
});
