import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { WeirError } from '../../../src/util/errors.ts';
import { digestOf, DigestVerifier, parseDigest, tryParseDigest } from '../../../src/oci/digest.ts';
import { formatImageReference, parseImageReference } from '../../../src/oci/reference.ts';
import {
  DOCKER_HUB,
  parseRepository,
  tryParseRegistryHost,
  tryParseRepositoryName,
} from '../../../src/oci/repository.ts';

const oneOf = (letters: string): fc.Arbitrary<string> => fc.constantFrom(...letters.split(''));
const hex = (length: number): fc.Arbitrary<string> =>
  fc.string({ unit: oneOf('0123456789abcdef'), minLength: length, maxLength: length });
const alphanumeric = oneOf('abcdefghijklmnopqrstuvwxyz0123456789');
const word = fc.string({ unit: alphanumeric, minLength: 1, maxLength: 12 });
const component = fc
  .tuple(word, fc.array(fc.tuple(fc.constantFrom('.', '_', '__', '-', '--'), word), { maxLength: 2 }))
  .map(([first, rest]) => first + rest.flat().join(''));
const host = fc.oneof(
  fc.tuple(word, fc.constantFrom('.io', '.example.com')).map((parts) => parts.join('')),
  fc.tuple(word, fc.integer({ min: 1, max: 65535 })).map(([name, port]) => `${name}:${port}`),
  fc.ipV4(),
  fc.ipV6().map((address) => `[${address.toLowerCase()}]:5000`),
);
const tag = fc
  .string({ unit: oneOf('abcXYZ019._-'), minLength: 1, maxLength: 128 })
  .filter((t) => /^\w/.test(t));

describe('digests', () => {
  it('are parsed if valid', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          hex(64).map((h) => `sha256:${h}`),
          hex(128).map((h) => `sha512:${h}`),
        ),
        (text) => {
          assert.equal(parseDigest(text), text);
        },
      ),
    );
  });

  it('are refused if invalid', () => {
    const wrong = [
      '',
      'sha256:',
      'sha256:abc',
      `sha256:${'A'.repeat(64)}`,
      `sha1:${'a'.repeat(40)}`,
      `sha512:${'a'.repeat(64)}`,
    ];
    for (const text of [...wrong, ` sha256:${'a'.repeat(64)}`, `sha256:${'a'.repeat(64)}\n`]) {
      assert.equal(tryParseDigest(text), undefined, JSON.stringify(text));
      assert.throws(
        () => parseDigest(text),
        (error) => error instanceof WeirError && error.code === 'digest_invalid',
      );
    }
    fc.assert(
      fc.property(fc.string(), (text) => tryParseDigest(text) === undefined || /^sha(256|512):/.test(text)),
    );
  });

  it('are the same for bytes at once and in parts', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array()), fc.constantFrom('sha256', 'sha512'), (pieces, algorithm) => {
        const digest = digestOf(Buffer.concat(pieces), algorithm);
        const verifier = new DigestVerifier(digest);
        for (const piece of pieces) verifier.update(piece);
        const fork = verifier.fork();
        fork.update(Buffer.from('more'));
        assert.equal(fork.matches(), false);
        assert.equal(verifier.matches(), true);
      }),
    );
  });
});

describe('image references', () => {
  it('survive formatting and parsing', () => {
    const names = fc.array(component, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'));
    const references = fc.oneof(
      tag.map((t) => `:${t}`),
      hex(64).map((h) => `@sha256:${h}`),
    );
    fc.assert(
      fc.property(host, names, references, (registry, name, reference) => {
        const text = `${registry}/${name}${reference}`;
        const image = parseImageReference(text);
        assert.equal(formatImageReference(image), text);
        assert.equal(image.repository.registry, registry);
      }),
    );
  });

  const meanings: readonly [string, string][] = [
    ['alpine', 'docker.io/library/alpine:latest'],
    ['alpine:3.20', 'docker.io/library/alpine:3.20'],
    ['team/app', 'docker.io/team/app:latest'],
    ['docker.io/alpine', 'docker.io/library/alpine:latest'],
    ['registry-1.docker.io/library/alpine', 'docker.io/library/alpine:latest'],
    ['localhost/app', 'localhost/app:latest'],
    ['localhost:5000/app:v1', 'localhost:5000/app:v1'],
    ['[::1]:5000/a/b:v1', '[::1]:5000/a/b:v1'],
    [`ghcr.io/a/b:v1@sha256:${'0'.repeat(64)}`, `ghcr.io/a/b@sha256:${'0'.repeat(64)}`],
  ];
  for (const [text, meaning] of meanings) {
    it(`${text} is ${meaning}`, () => assert.equal(formatImageReference(parseImageReference(text)), meaning));
  }

  for (const text of [
    '',
    'UPPER/case',
    'a:b:c',
    'a@b',
    'a@sha256:short',
    `a@sha256:${'0'.repeat(64)}@x`,
    'a/../b',
    'a:',
    '/a',
    'ghcr.io/',
    `x/${'a'.repeat(260)}`,
  ]) {
    it(`${JSON.stringify(text.slice(0, 20))} is refused with a reason`, () => {
      assert.throws(
        () => parseImageReference(text),
        (error) => error instanceof WeirError && error.message.length > 10,
      );
    });
  }

  it('fail only with WeirError for any input', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          parseImageReference(text);
        } catch (error) {
          assert.ok(error instanceof WeirError && error.fault === 'caller');
        }
      }),
    );
  });
});

describe('registries and repositories', () => {
  it('hosts are lower-cased, and aliases of Docker Hub folded', () => {
    assert.equal(tryParseRegistryHost('GHCR.io'), 'ghcr.io');
    for (const alias of ['docker.io', 'index.docker.io', 'registry-1.docker.io']) {
      assert.equal(tryParseRegistryHost(alias), DOCKER_HUB);
    }
    for (const wrong of [
      '',
      'a b',
      'a/b',
      'host:0',
      'host:65536',
      'host:',
      '::1',
      '[::1',
      '[not]:1',
      'user@host',
      'a..b',
      '-a',
    ]) {
      assert.equal(tryParseRegistryHost(wrong), undefined, wrong);
    }
  });

  it('names of one component belong to library/ only on Docker Hub', () => {
    assert.equal(parseRepository(DOCKER_HUB, 'alpine').name, 'library/alpine');
    const ghcr = tryParseRegistryHost('ghcr.io') ?? assert.fail();
    assert.equal(parseRepository(ghcr, 'alpine').name, 'alpine');
    for (const wrong of ['', '/', 'a//b', 'a/', '.a', 'a.', 'a___b', 'a-/b', 'A', 'a\n']) {
      assert.equal(tryParseRepositoryName(wrong), undefined, JSON.stringify(wrong));
    }
  });
});
