import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createGunzip, gunzipSync } from 'node:zlib';
import { extract } from 'tar-stream';
import { KIB, MIB } from '../../../../src/util/clock.ts';
import { blobPath, generateImage } from '../../../../src/cli/demo/image.ts';
import { Shaper } from '../../../../src/cli/demo/shaper.ts';
import { systemClock } from '../../../../src/util/clock.ts';
import { digestOf } from '../../../../src/oci/digest.ts';
import { parseManifest } from '../../../../src/oci/manifest.ts';

describe('generated images', () => {
  let directory = '';
  beforeEach(async () => (directory = await mkdtemp(join(tmpdir(), 'weir-test-'))));
  afterEach(() => rm(directory, { recursive: true }));

  it('depend only on the seed, and have right digests', async () => {
    const spec = { layers: [3 * MIB + 7, 1, 0] };
    const one = await generateImage(join(directory, '1'), { ...spec, seed: 'a' });
    const same = await generateImage(join(directory, '2'), { ...spec, seed: 'a' });
    const other = await generateImage(join(directory, '3'), { ...spec, seed: 'b' });
    assert.equal(one.top.digest, same.top.digest);
    assert.notEqual(one.top.digest, other.top.digest);
    assert.equal(one.blobs.size, 5);
    for (const [digest, { size }] of one.blobs) {
      const bytes = await readFile(blobPath(one.directory, digest));
      assert.equal(digestOf(bytes), digest);
      assert.equal(bytes.length, size);
    }
  });

  it('have layers that are tar files with the diff ids of the config', async () => {
    const content = Buffer.from('#!/bin/sh\n');
    const files = [{ path: 'bin/hello', content, mode: 0o755 }];
    const image = await generateImage(directory, { seed: 'a', layers: [{ size: 100 * KIB, files }] });
    const manifest = parseManifest(await readFile(blobPath(directory, image.top.digest)));
    assert.ok(manifest.kind === 'image');
    const [layer] = manifest.layers;
    assert.ok(layer !== undefined);
    const entries: string[] = [];
    const tar = createReadStream(blobPath(directory, layer.digest)).pipe(createGunzip()).pipe(extract());
    for await (const entry of tar) {
      entries.push(`${entry.header.name} ${entry.header.size} ${entry.header.mode?.toString(8)}`);
      entry.resume();
    }
    assert.deepEqual(entries, ['bin/hello 10 755', `data/layer-0.bin ${100 * KIB} 644`]);
    const config = JSON.parse(await readFile(blobPath(directory, manifest.config.digest), 'utf8')) as {
      rootfs: { diff_ids: string[] };
    };
    const plain = gunzipSync(await readFile(blobPath(directory, layer.digest)));
    assert.deepEqual(config.rootfs.diff_ids, [digestOf(plain)]);
  });

  it('of several platforms are an index', async () => {
    const platforms = ['amd64', 'arm64'].map((architecture) => ({ os: 'linux', architecture }));
    const image = await generateImage(directory, { seed: 'a', layers: [10], platforms });
    const index = parseManifest(await readFile(blobPath(directory, image.top.digest)));
    assert.ok(index.kind === 'index');
    assert.deepEqual(
      index.manifests.map(({ platform }) => platform?.architecture),
      ['amd64', 'arm64'],
    );
  });
});

describe('shared bandwidth', () => {
  it('is given out in turn', async () => {
    let now = 0;
    const slept: number[] = [];
    const clock = { ...systemClock, monotonic: () => now, sleep: async (ms: number) => void slept.push(ms) };
    const shaper = new Shaper(1000, clock);
    await Promise.all([shaper.take(100), shaper.take(100)]);
    assert.deepEqual(slept, [100, 200]);
    now = 10_000; // idle time is not saved up
    await shaper.take(100);
    assert.deepEqual(slept, [100, 200, 100]);
  });
});
