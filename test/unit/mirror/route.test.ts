import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { WeirError } from '../../../src/util/errors.ts';
import { parseRoute } from '../../../src/mirror/route.ts';
import { DOCKER_HUB, repositoryKey } from '../../../src/oci/repository.ts';

const HEX = 'ab'.repeat(32);

/** A parsed target as one line. */
function read(target: string): string {
  const route = parseRoute(target, DOCKER_HUB);
  if (route.kind === 'ping') return 'ping';
  const what =
    route.kind === 'manifest'
      ? `${route.kind} ${route.reference.kind}`
      : route.kind === 'blob'
        ? 'blob'
        : `${route.path} ${route.query.toString()}`.trim();
  return `${repositoryKey(route.repository)} ${what}${route.byPath ? ' by path' : ''}`;
}

describe('parseRoute', () => {
  const cases: readonly [string, string][] = [
    ['/v2/', 'ping'],
    ['/v2', 'ping'],
    ['/v2/?ns=docker.io', 'ping'],
    ['/v2/library/alpine/manifests/3.20', 'docker.io/library/alpine manifest tag'],
    ['/v2/alpine/manifests/3.20', 'docker.io/library/alpine manifest tag'],
    ['/v2/alpine/manifests/3.20?ns=docker.io', 'docker.io/library/alpine manifest tag'],
    ['/v2/alpine/manifests/3.20?ns=registry-1.docker.io', 'docker.io/library/alpine manifest tag'],
    ['/v2/a/manifests/v1?ns=ghcr.io', 'ghcr.io/a manifest tag'],
    ['/v2/a/b/c/d/e/f/manifests/v1?ns=ghcr.io', 'ghcr.io/a/b/c/d/e/f manifest tag'],
    ['/v2/a/b/manifests/v1?ns=localhost:5000', 'localhost:5000/a/b manifest tag'],
    ['/v2/a/b/manifests/v1?ns=127.0.0.1:5000', '127.0.0.1:5000/a/b manifest tag'],
    ['/v2/a/b/manifests/v1?ns=[::1]:5000', '[::1]:5000/a/b manifest tag'],
    ['/v2/a/b/manifests/v1?ns=%5B::1%5D:5000', '[::1]:5000/a/b manifest tag'],
    ['/v2/[fd00::1]:5000/a/manifests/v1', '[fd00::1]:5000/a manifest tag by path'],
    ['/v2/%5Bfd00::1%5D:5000/a/manifests/v1', '[fd00::1]:5000/a manifest tag by path'],
    ['/v2/docker.io/library/alpine/manifests/v1', 'docker.io/library/alpine manifest tag by path'],
    ['/v2/docker.io/alpine/manifests/v1', 'docker.io/library/alpine manifest tag by path'],
    ['/v2/reg.corp__5000/a/manifests/v1', 'reg.corp:5000/a manifest tag by path'],
    ['/v2/localhost__5000/a/b/manifests/v1', 'localhost:5000/a/b manifest tag by path'],
    ['/v2/localhost/a/manifests/v1', 'localhost/a manifest tag by path'],
    ['/v2/GHCR.io/a/manifests/v1', 'ghcr.io/a manifest tag by path'],
    [`/v2/a/b/manifests/sha256:${HEX}?ns=ghcr.io`, 'ghcr.io/a/b manifest digest'],
    [`/v2/a/b/manifests/sha512:${HEX}${HEX}?ns=ghcr.io`, 'ghcr.io/a/b manifest digest'],
    [`/v2/a/b/blobs/sha256:${HEX}?ns=ghcr.io`, 'ghcr.io/a/b blob'],
    [`/v2/a/b/blobs/sha256%3A${HEX}?ns=ghcr.io`, 'ghcr.io/a/b blob'],
    ['/v2/manifests/manifests/manifests?ns=ghcr.io', 'ghcr.io/manifests manifest tag'],
    ['/v2/a/b/tags/list?ns=ghcr.io&n=5&last=x', 'ghcr.io/a/b tags/list n=5&last=x'],
    [`/v2/a/referrers/sha256:${HEX}?ns=ghcr.io`, `ghcr.io/a referrers/sha256:${HEX}`],
  ];
  for (const [target, meaning] of cases) {
    it(target.replaceAll(HEX, '…'), () => assert.equal(read(target), meaning));
  }

  it('throws only WeirErrors of the caller, for any target', () => {
    const part = fc.oneof(
      fc.string(),
      fc.constantFrom(
        '/v2/',
        'a',
        '/',
        'manifests',
        'blobs',
        `sha256:${HEX}`,
        '?ns=',
        'docker.io',
        '%',
        '..',
        '[::1]:5',
      ),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        try {
          parseRoute(parts.join(''), DOCKER_HUB);
        } catch (error) {
          assert.ok(error instanceof WeirError && error.fault === 'caller', String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });
});
