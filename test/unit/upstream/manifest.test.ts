import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseManifestReference } from '../../../src/oci/reference.ts';
import { HttpServer } from '../../support/http-server.ts';
import { failsWith, repositoryAt, TestUpstream } from './fixture.ts';

const manifest = Buffer.from('{"schemaVersion":2}');
const latest = parseManifestReference('latest');
const byDigest = parseManifestReference(digestOf(manifest));

describe('upstream: manifests and passed-through answers', () => {
  it('reads the header of a manifest', async () => {
    await using registry = await HttpServer.start((_, response) => {
      response.writeHead(200, {
        'content-type': 'application/vnd.oci.image.index.v1+json; charset=utf-8',
        'content-length': 19,
        'docker-content-digest': digestOf(manifest),
      });
      response.end();
    });
    await using upstream = new TestUpstream({ via: 'node-1' });
    assert.deepEqual(await upstream.headManifest(repositoryAt(registry.host), latest), {
      digest: digestOf(manifest),
      mediaType: 'application/vnd.oci.image.index.v1+json',
      size: 19,
    });
    const [request] = registry.requests;
    assert.equal(request?.url, '/v2/team/app/manifests/latest');
    assert.equal(request.method, 'HEAD');
    assert.equal(request.headers['user-agent'], 'weir/test');
    assert.equal(request.headers['accept-encoding'], 'identity');
    assert.equal(request.headers['weir-via'], 'node-1');
    assert.match(String(request.headers['accept']), /image\.index\.v1\+json.*\*\/\*/);
  });

  it('computes the digest if the registry does not name it', async () => {
    await using registry = await HttpServer.start((_, response) => void response.end(manifest));
    await using upstream = new TestUpstream();
    const accept = 'application/x';
    const fetched = await upstream.getManifest(repositoryAt(registry.host), latest, { accept });
    assert.equal(fetched.digest, digestOf(manifest));
    assert.deepEqual(Buffer.from(fetched.bytes), manifest);
    assert.equal(registry.requests[0]?.headers['accept'], accept);
    const sha512 = parseManifestReference(digestOf(manifest, 'sha512'));
    const other = await upstream.getManifest(repositoryAt(registry.host), sha512);
    assert.equal(other.digest, digestOf(manifest, 'sha512'));
  });

  it('refuses bytes with another digest than requested or named', async () => {
    await using registry = await HttpServer.start((_, response) => {
      response.setHeader('docker-content-digest', digestOf(manifest));
      response.end('{"schemaVersion":3}');
    });
    await using upstream = new TestUpstream();
    for (const reference of [latest, byDigest]) {
      await failsWith('digest_mismatch', upstream.getManifest(repositoryAt(registry.host), reference));
    }
  });

  it('bounds what it reads, with or without Content-Length', async () => {
    const huge = Buffer.alloc(4 * 1024 * 1024 + 1);
    await using registry = await HttpServer.start((request, response) => {
      if (request.url?.endsWith('latest')) response.setHeader('content-length', huge.length);
      response.end(huge);
    });
    await using upstream = new TestUpstream();
    for (const reference of [latest, parseManifestReference('chunked')]) {
      await failsWith('upstream_too_large', upstream.getManifest(repositoryAt(registry.host), reference));
    }
  });

  it('maps statuses to codes, and retries temporary ones', async () => {
    let status = 0;
    await using registry = await HttpServer.start((_, response) => void response.writeHead(status).end());
    const clock = { now: Date.now, monotonic: () => 0, sleep: async () => undefined, random: () => 0 };
    await using upstream = new TestUpstream({ clock });
    const expected = [
      [401, 'upstream_unauthorized', 2], // it is asked for its challenge, too
      [403, 'upstream_denied', 1],
      [404, 'manifest_unknown', 1],
      [400, 'upstream_status', 1],
      [204, 'upstream_status', 1],
      [429, 'upstream_throttled', 3],
      [500, 'upstream_status', 3],
      [503, 'upstream_status', 3],
    ] as const;
    for (const [answer, code, requests] of expected) {
      status = answer;
      registry.requests.length = 0;
      await failsWith(code, upstream.getManifest(repositoryAt(registry.host), latest));
      assert.equal(registry.requests.length, requests, `status ${answer}`);
    }
  });

  it('honours Retry-After', async () => {
    const waits: number[] = [];
    const clock = {
      now: Date.now,
      monotonic: () => 0,
      sleep: async (ms: number) => void waits.push(ms),
      random: () => 0.5,
    };
    await using registry = await HttpServer.start((_, response) => {
      if (waits.length === 2) response.end(manifest);
      else response.writeHead(waits.length === 0 ? 429 : 503, { 'retry-after': '2' }).end();
    });
    await using upstream = new TestUpstream({ clock });
    await upstream.getManifest(repositoryAt(registry.host), latest);
    assert.deepEqual(waits, [2100, 2100]);
  });

  it('retries a manifest that was cut', async () => {
    await using registry = await HttpServer.start((_, response) => {
      if (registry.requests.length > 1) {
        response.end(manifest);
        return;
      }
      response.writeHead(200, { 'content-length': manifest.length });
      response.write(manifest.subarray(0, 5), () => response.destroy());
    });
    await using upstream = new TestUpstream();
    assert.equal(
      (await upstream.getManifest(repositoryAt(registry.host), latest)).digest,
      digestOf(manifest),
    );
  });

  for (const [what, bytes] of [
    ['named', manifest],
    ['real', gzipSync(manifest)],
  ] as const) {
    it(`reads a manifest with a ${what} encoding that it did not ask for`, async () => {
      await using registry = await HttpServer.start((_, response) => {
        response.writeHead(200, { 'content-encoding': 'gzip' }).end(bytes);
      });
      await using upstream = new TestUpstream();
      const read = await upstream.getManifest(repositoryAt(registry.host), latest);
      assert.equal(read.digest, digestOf(manifest));
      const { size } = await upstream.headManifest(repositoryAt(registry.host), latest);
      assert.equal(size, undefined, 'the length of encoded bytes is not that of the manifest');
    });
  }

  it('passes tags and referrers through with their headers', async () => {
    await using registry = await HttpServer.start((request, response) => {
      const isTags = request.url?.includes('tags');
      response.writeHead(isTags ? 200 : 404, {
        'content-type': 'application/json',
        link: '</v2/team/app/tags/list?n=1&last=a>; rel="next"',
        'oci-filters-applied': 'artifactType',
        'docker-distribution-api-version': 'registry/2.0',
        'set-cookie': 'a=b',
        server: 'x',
      });
      response.end('{"tags":["a"]}');
    });
    await using upstream = new TestUpstream();
    const repository = repositoryAt(registry.host);
    const query = new URLSearchParams({ n: '1', ns: 'docker.io' });
    const tags = await upstream.passThrough(repository, 'tags/list', query);
    assert.equal(registry.requests[0]?.url, '/v2/team/app/tags/list?n=1');
    assert.equal(Buffer.from(tags.body).toString(), '{"tags":["a"]}');
    assert.equal(tags.mediaType, 'application/json');
    assert.equal(tags.link, '</v2/team/app/tags/list?n=1&last=a>; rel="next"');
    assert.deepEqual(tags.headers, {
      'oci-filters-applied': 'artifactType',
      'docker-distribution-api-version': 'registry/2.0',
    });
    const path = `referrers/${digestOf(manifest)}` as const;
    assert.equal((await upstream.passThrough(repository, path, new URLSearchParams())).status, 404);
  });

  it('passes on only a few headers, short and of plain text', async () => {
    const many = Array.from({ length: 40 }, (_, i): [string, string] => [`docker-note-${i}`, 'x']);
    await using registry = await HttpServer.start((_, response) => {
      response.writeHead(200, {
        'oci-long': 'x'.repeat(257),
        'docker-accent': 'caf\u00e9',
        'oci-subject': 'kept',
        'x-other': 'x',
        link: `</v2/team/app/tags/list?last=${'a'.repeat(5000)}>; rel="next"`,
      });
      response.end('{}');
    });
    await using upstream = new TestUpstream();
    const ask = (): ReturnType<typeof upstream.passThrough> =>
      upstream.passThrough(repositoryAt(registry.host), 'tags/list', new URLSearchParams());
    const answer = await ask();
    assert.deepEqual(answer.headers, { 'oci-subject': 'kept' });
    assert.equal(answer.link, undefined);
    registry.handler = (_, response) => void response.writeHead(200, Object.fromEntries(many)).end('{}');
    assert.equal(Object.keys((await ask()).headers).length, 16);
  });

  it('reads the size of a blob', async () => {
    await using registry = await HttpServer.start((_, response) => {
      response.writeHead(200, { 'content-length': 5_000_000_000 }).end();
    });
    await using upstream = new TestUpstream();
    const digest = digestOf(manifest);
    assert.deepEqual(await upstream.headBlob(repositoryAt(registry.host), digest), { size: 5_000_000_000 });
  });
});
