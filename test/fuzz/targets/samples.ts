/** Values that several targets start with. */
import { MEDIA_TYPES } from '../../../src/oci/manifest.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';

export const DIGEST = digestOf(Buffer.from('a'));
export const DIGEST_512 = digestOf(Buffer.from('a'), 'sha512');

/** In seeds, replaces a password, a token or a key: no message may show it. */
export const SECRET = 'hunter2hunter2';

/** Milliseconds for 64 KiB: the YAML library takes some 5 µs per byte of nested text, and edits read it ten times. */
export const YAML_LIMIT = 5000;

export const TAGS_ROUTE = {
  kind: 'tags',
  repository: parseRepository(parseRegistryHost('quay.io'), 'team/app'),
  byPath: false,
  path: 'tags/list',
  query: new URLSearchParams(),
  mirrorPath: '/v2/team/app',
  ns: 'quay.io',
} as const;

const descriptor = { mediaType: MEDIA_TYPES.ociLayerGzip, digest: DIGEST, size: 1000 };

export const IMAGE = JSON.stringify({
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.ociManifest,
  config: { mediaType: MEDIA_TYPES.ociConfig, digest: DIGEST_512, size: 2 },
  layers: [descriptor, { ...descriptor, urls: ['https://a.example/b'] }],
  annotations: { 'org.opencontainers.image.ref.name': 'v1' },
});

export const INDEX = JSON.stringify({
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.ociIndex,
  manifests: [
    {
      ...descriptor,
      mediaType: MEDIA_TYPES.ociManifest,
      platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
    },
    { ...descriptor, size: 0 },
  ],
});
