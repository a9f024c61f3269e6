/** Archives of images. */
import assert from 'node:assert/strict';
import { readImageArchive } from '../../../src/archive/image-archive.ts';
import { digestOf, tryParseDigest } from '../../../src/oci/digest.ts';
import { MIB } from '../../../src/util/clock.ts';
import {
  dockerEntries,
  dockerParts,
  inParts,
  json,
  MemorySink,
  tarOf,
  type Entry,
} from '../../support/archives.ts';
import { pure, settledUnlessRefused } from '../harness/target.ts';
import { DIGEST } from './samples.ts';

const config = Buffer.from('{}');
const manifest = Buffer.from(
  json({ config: { digest: digestOf(config), size: 2 }, layers: [{ digest: DIGEST, size: 1 }] }),
);
const layout: readonly Entry[] = [
  ...[config, manifest, Buffer.from('a')].map((bytes): Entry => [
    `blobs/${digestOf(bytes).replace(':', '/')}`,
    bytes,
  ]),
  ['oci-layout', json({ imageLayoutVersion: '1.0.0' })],
  ['index.json', json({ manifests: [{ digest: digestOf(manifest), size: manifest.length }] })],
];
const link: Entry = [{ name: '1/layer.tar', type: 'symlink', linkname: '../0/layer.tar' }];

export const imageArchive = pure({
  name: 'image-archive',
  seeds: [
    await tarOf(layout),
    await tarOf(dockerEntries(dockerParts('a'), 'app:v1')),
    await tarOf([link, ...dockerEntries(dockerParts('a'))]),
    Buffer.from('1f8b0800', 'hex'),
  ],
  words: ['ustar\0', 'index.json', 'manifest.json', 'blobs/sha256/', '../', '"Layers":[', DIGEST, '\0'],
  run: async (input) => {
    const sink = new MemorySink();
    const codes = ['archive_invalid', 'digest_mismatch'] as const;
    const images = await settledUnlessRefused(codes, () => readImageArchive(inParts(input), sink, MIB));
    for (const { digest, blobs } of images ?? []) {
      assert.ok(blobs.some((blob) => blob.digest === digest));
      for (const blob of blobs) {
        assert.equal(tryParseDigest(blob.digest), blob.digest);
        assert.equal(sink.blobs.get(blob.digest)?.length, blob.size);
      }
    }
  },
});
