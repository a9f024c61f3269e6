import assert from 'node:assert/strict';
import { formatPlatform, hostPlatform, parsePlatform, selectManifest } from '../../../src/oci/platform.ts';
import type { Descriptor, Platform } from '../../../src/oci/manifest.ts';
import { digestOf } from '../../../src/oci/digest.ts';

const manifestFor = (text: string): Descriptor => ({
  mediaType: 'x',
  digest: digestOf(Buffer.from(text)),
  size: 1,
  platform: parsePlatform(text),
});

describe('Platforms', () => {
  it('are read and written', () => {
    for (const text of ['linux/amd64', 'linux/arm/v7', 'windows/amd64']) {
      assert.equal(formatPlatform(parsePlatform(text)), text);
    }
    for (const text of ['', 'linux', 'linux/', 'a/b/c/d', 'Linux/AMD64', 'linux/amd64 ']) {
      assert.throws(() => parsePlatform(text), { code: 'bad_request' });
    }
  });

  it('of this machine are named as images name them', () => {
    assert.deepEqual(hostPlatform('x64'), { os: 'linux', architecture: 'amd64' });
    assert.deepEqual(hostPlatform('arm64'), { os: 'linux', architecture: 'arm64' });
  });

  it('are found in an index: the same variant, else the first if none is asked for', () => {
    const manifests = ['linux/arm/v6', 'linux/arm/v7', 'linux/arm64/v8', 'linux/amd64'].map(manifestFor);
    const found = (text: string): string =>
      formatPlatform(selectManifest(manifests, parsePlatform(text)).platform as Platform);
    assert.equal(found('linux/arm/v7'), 'linux/arm/v7');
    assert.equal(found('linux/arm'), 'linux/arm/v6');
    assert.equal(found('linux/arm64'), 'linux/arm64/v8');
    assert.equal(found('linux/arm64/v8'), 'linux/arm64/v8');
    assert.throws(() => found('linux/arm/v5'), { code: 'manifest_unknown' });
    assert.throws(() => found('windows/amd64'), { code: 'manifest_unknown' });
  });
});
