import assert from 'node:assert/strict';
import type { RegistryHost } from '../../../src/oci/repository.ts';
import type { Hop } from '../../../src/upstream/redirect.ts';
import { follow, type PlainRule } from '../../../src/upstream/redirect.ts';
import type { Response } from '../../../src/upstream/response.ts';
import type { RegistryConfig } from '../../../src/upstream/registry-config.ts';
import { HttpServer } from '../../support/http-server.ts';
import {
  as,
  collect,
  failsWith,
  makeBlob,
  ranges,
  repositoryAt,
  serveBytes,
  TestUpstream,
} from './fixture.ts';

const blob = makeBlob(200_000);
const bearer = { kind: 'bearer', token: 'secret' } as const;

/** The steps of `follow` if each URL redirects to the next one. */
async function route(...stops: readonly string[]): Promise<readonly (readonly [string, boolean])[]> {
  return routeBy({ isPlainAllowed: false, registry: 'a.test' as RegistryHost }, ...stops);
}

async function routeBy(
  rule: PlainRule,
  ...stops: readonly string[]
): Promise<readonly (readonly [string, boolean])[]> {
  const seen: (readonly [string, boolean])[] = [];
  const rest = stops.slice(1);
  const hop = { url: new URL(stops[0] ?? ''), method: 'GET', headers: { authorization: 'x' } } as const;
  await follow(
    hop,
    async ({ url, headers }: Hop) => {
      seen.push([url.href, 'authorization' in headers]);
      const location = rest.shift();
      return {
        status: location === undefined ? 200 : 307,
        header: () => location,
        discard: () => undefined,
      } as unknown as Response;
    },
    rule,
  );
  return seen;
}

function urls(n: number): readonly string[] {
  return Array.from({ length: n }, (_, i) => `https://a.test/${i}`);
}

function withMirrors(
  registry: HttpServer,
  mirrors: readonly HttpServer[],
): ReadonlyMap<RegistryHost, RegistryConfig> {
  return new Map([[registry.host as RegistryHost, { mirrors: mirrors.map(({ url }) => new URL(url)) }]]);
}

describe('upstream: redirects', () => {
  it('drops Authorization at another origin, also on the way back', async () => {
    assert.deepEqual(await route('https://a.test/1', '/2', 'https://b.test/3', 'https://a.test/4'), [
      ['https://a.test/1', true],
      ['https://a.test/2', true],
      ['https://b.test/3', false],
      ['https://a.test/4', false],
    ]);
    const [, other] = await route('https://a.test/', 'https://a.test:8443/');
    assert.deepEqual(other, ['https://a.test:8443/', false]);
    const [, upgraded] = await route('http://a.test/', 'https://a.test/');
    assert.deepEqual(upgraded, ['https://a.test/', false]);
  });

  it('gives up TLS, without Authorization, only where the operator says so', async () => {
    const rule = { isPlainAllowed: true, registry: 'a.test' as RegistryHost };
    assert.deepEqual(await routeBy(rule, 'https://a.test/', 'http://a.test/1', 'https://a.test/2'), [
      ['https://a.test/', true],
      ['http://a.test/1', false],
      ['https://a.test/2', false],
    ]);
    await assert.rejects(
      route('https://a.test/', 'http://a.test/1'),
      /to allow it, set registries\."a\.test"\.plain-redirects/,
    );
  });

  it('refuses redirects without TLS, to other protocols, or with passwords', async () => {
    const wrong = ['http://a.test/', 'ftp://a.test/', 'https://u:p@b.test/', 'https://'];
    for (const location of wrong) await failsWith('upstream_protocol', route('https://a.test/', location));
  });

  it('follows nine redirects and no more, as runtimes do', async () => {
    assert.equal((await route(...urls(10))).length, 10);
    await failsWith('upstream_protocol', route(...urls(11)));
  });

  it('reads a blob from the named storage, without the credential', async () => {
    await using storage = await HttpServer.start((request, response) =>
      serveBytes(request.headers.range, response, blob.bytes),
    );
    for (const status of [301, 302, 303, 307, 308]) {
      await using registry = await HttpServer.start((_, response) => {
        response.writeHead(status, { location: `${storage.url}/signed?x=1` }).end('moved');
      });
      await using upstream = new TestUpstream();
      const options = as(registry.host, bearer);
      const stream = await upstream.openBlob(repositoryAt(registry.host), blob.digest, options);
      assert.deepEqual(await collect(stream), blob.bytes);
      assert.equal(registry.requests[0]?.headers['authorization'], 'Bearer secret');
    }
    assert.equal(storage.requests.length, 5);
    for (const { url, headers } of storage.requests) {
      assert.equal(url, '/signed?x=1');
      assert.equal(headers['authorization'], undefined);
    }
  });

  it('asks the registry again after a cut, and after a signed URL expired', async () => {
    let valid = '';
    await using storage = await HttpServer.start((request, response) => {
      if (request.url !== valid) {
        response.writeHead(403).end();
      } else if (storage.requests.length === 1) {
        response.writeHead(200, { 'content-length': blob.bytes.length });
        response.write(blob.bytes.subarray(0, 50_000), () => response.socket?.end());
      } else {
        serveBytes(request.headers.range, response, blob.bytes);
      }
    });
    await using registry = await HttpServer.start((_, response) => {
      const count = registry.requests.length;
      valid = `/signed-${count}`;
      const given = count === 2 ? '/signed-too-late' : valid;
      response.writeHead(307, { location: storage.url + given }).end();
    });
    await using upstream = new TestUpstream();
    const stream = await upstream.openBlob(repositoryAt(registry.host), blob.digest);
    assert.deepEqual(await collect(stream), blob.bytes);
    assert.deepEqual(ranges(registry), [undefined, 'bytes=50000-', 'bytes=50000-']);
    assert.deepEqual(ranges(storage), [undefined, 'bytes=50000-', 'bytes=50000-']);
  });
});

describe('upstream: mirrors', () => {
  it('asks mirrors in order, without the caller’s credential, then the registry with it', async () => {
    for (const status of [401, 403, 404, 429, 500, 0]) {
      await using mirror = await HttpServer.start((_, response) => {
        if (status === 0) response.destroy();
        else response.writeHead(status, { 'www-authenticate': 'Basic realm="x"' }).end();
      });
      await using registry = await HttpServer.start((request, response) =>
        serveBytes(request.headers.range, response, blob.bytes),
      );
      await using upstream = new TestUpstream({ registries: withMirrors(registry, [mirror]) });
      const options = as(registry.host, bearer);
      const stream = await upstream.openBlob(repositoryAt(registry.host), blob.digest, options);
      assert.deepEqual(await collect(stream), blob.bytes);
      assert.equal(mirror.requests.length, 1);
      assert.equal(mirror.requests[0]?.headers['authorization'], undefined);
      assert.match(mirror.requests[0]?.url ?? '', /\?ns=127\.0\.0\.1%3A[0-9]+$/);
      assert.equal(registry.requests[0]?.headers['authorization'], 'Bearer secret');
    }
  });

  it('reads from a mirror, and the rest from the registry if the mirror breaks', async () => {
    await using mirror = await HttpServer.start((_, response) => {
      response.writeHead(200, { 'content-length': blob.bytes.length });
      if (mirror.requests.length > 1) response.destroy();
      else response.write(blob.bytes.subarray(0, 1000), () => response.socket?.end());
    });
    await using registry = await HttpServer.start((request, response) =>
      serveBytes(request.headers.range, response, blob.bytes),
    );
    await using upstream = new TestUpstream({ registries: withMirrors(registry, [mirror]) });
    const stream = await upstream.openBlob(repositoryAt(registry.host), blob.digest);
    assert.deepEqual(await collect(stream), blob.bytes);
    assert.deepEqual(ranges(registry), ['bytes=1000-']);
  });

  it('passes the registry’s own 404 through, not a mirror’s', async () => {
    await using mirror = await HttpServer.start((_, response) => void response.writeHead(404).end('mirror'));
    await using registry = await HttpServer.start((_, response) => void response.end('registry'));
    await using upstream = new TestUpstream({ registries: withMirrors(registry, [mirror]) });
    const answer = await upstream.passThrough(
      repositoryAt(registry.host),
      'tags/list',
      new URLSearchParams(),
    );
    assert.equal(Buffer.from(answer.body).toString(), 'registry');
  });
});
