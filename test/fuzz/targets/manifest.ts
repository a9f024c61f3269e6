/** Manifests and indexes. */
import assert from 'node:assert/strict';
import { manifestChildren, parseManifest } from '../../../src/oci/manifest.ts';
import { announcedType, documentType, plainType } from '../../../src/oci/manifest-type.ts';
import { tryParseDigest } from '../../../src/oci/digest.ts';
import { pure, unlessRefused } from '../harness/target.ts';
import { DIGEST, IMAGE, INDEX } from './samples.ts';

export const manifest = pure({
  name: 'manifest',
  seeds: [
    IMAGE,
    INDEX,
    '{"schemaVersion":1,"fsLayers":[],"signatures":[]}',
    '[]',
    '{"manifests":[],"layers":[]}',
    'null',
  ],
  words: [
    '"manifests":',
    '"layers":[',
    '"config":{',
    '"size":',
    '"digest":',
    `"${DIGEST}"`,
    '"mediaType":',
    '"urls":',
    '{',
    '},',
  ],
  run: (input) => {
    const read = unlessRefused(['reference_invalid'], () => parseManifest(input));
    for (const { digest, size } of read === undefined ? [] : manifestChildren(read)) {
      assert.equal(tryParseDigest(digest), digest);
      assert.ok(Number.isSafeInteger(size) && size >= 0, String(size));
    }
    const type = documentType(input);
    if (type !== undefined) assert.match(type, /^application\/vnd\.[a-z0-9.+-]+$/);
    const header = input.toString('latin1');
    assert.match(announcedType(header), /^application\/[a-z0-9.+-]+$/);
    assert.equal(plainType(plainType(header)), plainType(header));
  },
});
