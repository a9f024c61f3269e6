/** Names in requests: routes, references, headers of the mirror. */
import assert from 'node:assert/strict';
import { validateHeaderValue } from 'node:http';
import { isWeirError } from '../../../src/util/errors.ts';
import { WebGuard } from '../../../src/http/web-guard.ts';
import { mirrorLink } from '../../../src/mirror/responses.ts';
import { MAX_TARGET_LENGTH, parseRoute, type Route } from '../../../src/mirror/route.ts';
import { acceptedTypes, isAccepted } from '../../../src/oci/manifest-type.ts';
import { parseRangeHeader } from '../../../src/oci/range.ts';
import {
  formatImageReference,
  formatManifestReference,
  parseImageReference,
  parseManifestReference,
} from '../../../src/oci/reference.ts';
import { DOCKER_HUB, parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';
import { credentialKey, formatAuthorization, parseAuthorization } from '../../../src/upstream/credential.ts';
import { pure, splitLine, unlessRefused } from '../harness/target.ts';
import { DIGEST, TAGS_ROUTE } from './samples.ts';

/** Characters that may appear in a header and in a log line. */
const VISIBLE = /^[\x21-\x7e]+$/;

const HOSTS = [
  'docker.io',
  'ghcr.io',
  'localhost:5000',
  '127.0.0.1:5000',
  '[::1]:5000',
  '[fd00::1%25eth0]:1',
  '1.2.3.4.5',
];

export const route = pure({
  name: 'route',
  seeds: [
    '/v2/',
    '/v2/library/alpine/manifests/latest?ns=docker.io',
    `/v2/library/alpine/manifests/${DIGEST}?ns=docker.io`,
    `/v2/ghcr.io/org/app/blobs/${DIGEST}`,
    `/v2/%5B::1%5D:5000/a/b/blobs/${DIGEST.replace(':', '%3A')}`,
    '/v2/team/app/tags/list?n=10&last=v1&ns=quay.io',
    `/v2/team/app/referrers/${DIGEST}?artifactType=a%2Fb&ns=localhost:5000`,
  ],
  words: [
    ...HOSTS,
    '/v2/',
    '/manifests/',
    '/blobs/',
    '/tags/list',
    '/referrers/',
    '?ns=',
    '&ns=',
    DIGEST,
    'sha512:',
  ],
  run: (input) => {
    for (const encoding of ['utf8', 'latin1'] as const) {
      const target = input.toString(encoding);
      const codes = [
        'uri_too_long',
        'bad_request',
        'not_found',
        'name_invalid',
        'digest_invalid',
        'reference_invalid',
      ] as const;
      const read = unlessRefused(codes, () => parseRoute(target, DOCKER_HUB));
      if (read !== undefined) checkRoute(read);
    }
  },
});

function checkRoute(read: Route): void {
  if (read.kind === 'ping') return;
  const { registry, name } = read.repository;
  assert.match(`${registry}/${name}`, VISIBLE);
  assert.deepEqual(parseRepository(parseRegistryHost(registry), name), read.repository);
  if (read.kind === 'manifest') {
    assert.deepEqual(parseManifestReference(formatManifestReference(read.reference)), read.reference);
  } else if (read.kind !== 'blob') {
    assert.equal(read.query.has('ns'), false);
  }
}

export const reference = pure({
  name: 'reference',
  seeds: [
    'alpine',
    'ghcr.io/org/app:v1',
    `[::1]:5000/a/b@${DIGEST}`,
    `app:v1@${DIGEST}`,
    'localhost/x:_',
    'a.b/c',
  ],
  words: [...HOSTS, '@', ':latest', DIGEST, 'library/', '__', '---'],
  run: (input) => {
    const codes = ['reference_invalid', 'name_invalid'] as const;
    const read = unlessRefused(codes, () => parseImageReference(input.toString('utf8')));
    if (read === undefined) return;
    const text = formatImageReference(read);
    assert.match(text, VISIBLE);
    assert.deepEqual(parseImageReference(text), read);
  },
});

export const range = pure({
  name: 'range',
  seeds: [
    '1000\nbytes=0-99',
    '1000\nbytes=-1',
    '5\nBytes=4-',
    '0\nbytes=0-0',
    '9\nbytes=0-1,3-4',
    '9007199254740991\nbytes=9-',
  ],
  words: ['bytes=', '-', ',', '0-0', '1e3', ' '],
  run: (input) => {
    const [first, rest] = splitLine(input);
    const size = Number.parseInt(first, 10);
    if (!Number.isSafeInteger(size) || size < 0) return;
    const read = parseRangeHeader(rest.toString('latin1'), size);
    if (read.kind !== 'part') return;
    const { start, end } = read.range;
    assert.ok(Number.isSafeInteger(start) && Number.isSafeInteger(end), `${start} to ${end}`);
    assert.ok(start >= 0 && start < end && end <= size, `${start} to ${end} of ${size}`);
  },
});

export const authorization = pure({
  name: 'authorization',
  seeds: [
    'Bearer abc.def-ghi',
    'Basic dXNlcjpwYXNz',
    'basic OmE=',
    `Bearer ${'a'.repeat(9000)}==`,
    'Digest x="y"',
  ],
  words: ['Basic ', 'Bearer ', '==', 'Og==', 'CgoK', 'DQo6'],
  run: (input) => {
    const read = unlessRefused(['bad_request'], () => parseAuthorization(input.toString('latin1')));
    if (read === undefined) return;
    const header = formatAuthorization(read);
    validateHeaderValue('authorization', header);
    assert.match(header, /^(?:Basic|Bearer) [\x21-\x7e]+$/);
    if (header.length > 16_384) return; // missing padding was added
    assert.deepEqual(parseAuthorization(header), read);
    assert.equal(credentialKey(parseAuthorization(header)), credentialKey(read));
  },
});

export const accept = pure({
  name: 'accept',
  seeds: ['', '*/*', 'application/vnd.oci.image.manifest.v1+json, application/json;q=0.5,,text/html ; q=0'],
  words: [',', ';q=', '*/*', 'application/*'],
  run: (input) => {
    const types = acceptedTypes(input.toString('latin1'));
    assert.deepEqual(types, [...new Set(types)].toSorted());
    assert.deepEqual(acceptedTypes(types.join(', ')), types);
    for (const type of types.slice(0, 5)) assert.ok(isAccepted(types, type));
  },
});

export const link = pure({
  name: 'link',
  seeds: [
    '</v2/a/b/tags/list?last=x&n=10>; rel="next"',
    '<https://evil.example/v2/x/tags/list?ns=a&ns=b>; rel=next',
    '  <?n=1>',
    '<//[::1]:1/?\u00e9=%ff>',
  ],
  words: ['<', '>', '; rel="next"', '?ns=', 'javascript:', '%0d%0a', '\r\nSet-Cookie: a=b'],
  run: (input) => {
    for (const encoding of ['utf8', 'latin1'] as const) {
      const read = mirrorLink(input.toString(encoding), TAGS_ROUTE);
      if (read === undefined) continue;
      validateHeaderValue('link', read);
      const [, target = ''] = /^<([\x21-\x3d\x3f-\x7e]+)>; rel="next"$/.exec(read) ?? [];
      assert.ok(target.length <= MAX_TARGET_LENGTH);
      const next = parseRoute(target, DOCKER_HUB);
      assert.ok(next.kind === 'tags');
      assert.deepEqual(next.repository, TAGS_ROUTE.repository);
    }
  },
});

const guard = new WebGuard({
  listen: [{ host: '127.0.0.1', port: 4770 }],
  hosts: ['weir.example'],
  setting: 'mirror.hosts',
});

export const host = pure({
  name: 'host',
  seeds: [
    '127.0.0.1:4770',
    'localhost',
    '[::1]:1',
    'weir.example.',
    '[::ffff:127.0.0.1]',
    '10.0.0.1:4770',
    '127.1',
    '',
  ],
  words: ['[', ']', ':4770', '127.0.0.1', '::ffff:', 'localhost', 'weir.example', '%lo'],
  run: (input) => {
    const header = input.toString('latin1');
    const request = { headers: { host: header }, httpVersion: '1.1', localAddress: '127.0.0.1' };
    try {
      guard.check(request);
    } catch (error) {
      if (isWeirError(error, 'host_not_allowed')) return;
      throw error;
    }
    assert.match(
      header,
      /^(?:127(?:\.\d{1,3}){3}\.?|localhost\.?|weir\.example\.?|\[(?:::1|(?:0+:){7}0*1|[:0]*(?:1|::1)|[0:]*:ffff:(?:127\.[\d.]+|7f[0-9a-f]{2}:[0-9a-f]{1,4}))\])(?::\d{0,5})?$/i,
    );
  },
});
