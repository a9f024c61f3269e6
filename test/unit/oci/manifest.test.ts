import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { WeirError } from '../../../src/util/errors.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { manifestChildren, MEDIA_TYPES, parseManifest } from '../../../src/oci/manifest.ts';

const digest = digestOf(Buffer.from('x'));
const descriptor = { mediaType: 'a/b', digest, size: 1 };
const bytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

describe('parseManifest', () => {
  it('reads images and indexes of OCI and Docker', () => {
    const image = parseManifest(
      bytes({ schemaVersion: 2, config: descriptor, layers: [descriptor, descriptor] }),
    );
    assert.equal(image.mediaType, MEDIA_TYPES.ociManifest);
    assert.equal(manifestChildren(image).length, 3);
    const platform = { os: 'linux', architecture: 'arm64', variant: 'v8' };
    const list = parseManifest(
      bytes({
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.dockerList,
        manifests: [{ ...descriptor, platform }],
      }),
    );
    assert.equal(list.mediaType, MEDIA_TYPES.dockerList);
    assert.deepEqual(manifestChildren(list)[0]?.platform, platform);
  });

  it('reads null and odd fields as builders write them', () => {
    for (const layers of [null, undefined]) {
      assert.deepEqual(manifestChildren(parseManifest(bytes({ config: descriptor, layers }))).length, 1);
    }
    const platforms = [
      { os: 'linux', architecture: 'amd64', variant: null },
      { architecture: 'amd64' },
      null,
    ];
    const manifests = platforms.map((platform) => ({ digest, size: 1, mediaType: null, platform }));
    assert.equal(manifestChildren(parseManifest(bytes({ mediaType: null, manifests }))).length, 3);
  });

  it('refuses anything else with a reason', () => {
    const wrong = [
      'no json',
      [],
      {},
      { manifests: 'none' },
      { config: { ...descriptor, digest: 'sha256:short' }, layers: [] },
      { config: { ...descriptor, size: -1 }, layers: [] },
      { config: { ...descriptor, size: 1.5 }, layers: [] },
    ];
    for (const value of wrong) {
      assert.throws(
        () => parseManifest(typeof value === 'string' ? Buffer.from(value) : bytes(value)),
        (error) => error instanceof WeirError && error.code === 'reference_invalid',
      );
    }
    fc.assert(
      fc.property(fc.json(), (json) => {
        assert.throws(() => parseManifest(Buffer.from(json)), WeirError);
      }),
    );
  });
});
