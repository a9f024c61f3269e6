import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { once } from 'node:events';
import { isWeirError } from '../../../src/util/errors.ts';
import { MIB } from '../../../src/util/clock.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../../../src/oci/manifest.ts';
import { seededBytes } from '../../support/bytes.ts';
import { MirrorFixture } from '../../support/mirror-fixture.ts';

/** The answer to a request written by hand. */
async function raw(url: string, request: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.end(request);
  let answer = '';
  socket.setEncoding('latin1');
  for await (const part of socket) answer += part as string;
  return answer;
}

describe('Mirror', () => {
  it('answers the ping of Docker and podman', async () => {
    await using fixture = await MirrorFixture.start();
    for (const path of ['/v2/', '/v2']) {
      const response = await fetch(fixture.url + path);
      assert.equal(response.status, 200);
      assert.equal(response.headers.get('docker-distribution-api-version'), 'registry/2.0');
    }
  });

  it('answers bad requests with error bodies of the spec', async () => {
    await using fixture = await MirrorFixture.start();
    const cases: readonly [string, number, string][] = [
      ['/v2/a/b/blobs/sha256:abc', 400, 'DIGEST_INVALID'],
      ['/v2/a/b/blobs/md5:d41d8cd98f00b204e9800998ecf8427e', 400, 'DIGEST_INVALID'],
      ['/v2/UPPER/manifests/v1', 400, 'NAME_INVALID'],
      ['/v2/a/manifests/%20', 404, 'MANIFEST_UNKNOWN'],
      ['/v2/a/manifests/v1?ns=not%20a%20host', 400, 'NAME_INVALID'],
      ['/v2/%E0%A4%A', 400, 'UNSUPPORTED'],
      ['/v1/_ping', 404, 'NAME_UNKNOWN'],
      ['/', 404, 'NAME_UNKNOWN'],
      [`/v2/${'a/'.repeat(2500)}manifests/v1`, 414, 'UNSUPPORTED'],
    ];
    for (const [path, status, code] of cases) {
      const response = await fetch(fixture.url + path);
      assert.equal(response.status, status, path.slice(0, 80));
      const body = (await response.json()) as { errors: { code: string; message: string }[] };
      assert.equal(body.errors[0]?.code, code);
      assert.ok((body.errors[0]?.message.length ?? 0) > 10);
    }
  });

  it('refuses methods other than GET and HEAD', async () => {
    await using fixture = await MirrorFixture.start();
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
      const response = await fixture.get('a/b/manifests/v1', { method });
      assert.equal(response.status, 405);
      assert.equal(response.headers.get('allow'), 'GET, HEAD');
    }
  });

  it('refuses headers above its bound', async () => {
    await using fixture = await MirrorFixture.start();
    const answer = await raw(
      fixture.url,
      `GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1.1 431 /);
    assert.match(await raw(fixture.url, 'nonsense\r\n\r\n'), /^HTTP\/1.1 400 /);
  });

  it('refuses malformed credentials without asking upstream', async () => {
    await using fixture = await MirrorFixture.start();
    const response = await fixture.get('a/b/manifests/v1', { headers: { authorization: 'Basic !!!' } });
    assert.equal(response.status, 400);
    assert.equal(fixture.registry.server.requests.length, 0);
  });

  it('refuses a request that came from itself', async () => {
    await using fixture = await MirrorFixture.start({ mirror: { firstByteTimeout: 5_000 } });
    const self = new URL(fixture.url).host;
    const response = await fetch(`${fixture.url}/v2/a/b/manifests/v1?ns=${self}`);
    assert.equal(response.status, 404);
    const inner = fixture.reports.filter(({ error }) => isWeirError(error, 'loop'));
    assert.ok(inner.length >= 1);
  });

  it('refuses requests beyond its bound at once, with 503', async () => {
    await using fixture = await MirrorFixture.start({ mirror: { maxRequests: 2, firstByteTimeout: 60_000 } });
    let waiting = 0;
    const bothWait = Promise.withResolvers<void>();
    fixture.registry.intercept = () => {
      if (++waiting === 2) bothWait.resolve();
      return true;
    };
    const stop = new AbortController();
    const pending = ['v1', 'v2'].map((tag) => fixture.get(`a/b/manifests/${tag}`, { signal: stop.signal }));
    await bothWait.promise;
    assert.equal((await fixture.get('a/b/manifests/v3')).status, 503);
    stop.abort();
    await Promise.allSettled(pending);
  });

  it('answers HEAD and GET of a manifest alike, up to its bound and above', async () => {
    await using fixture = await MirrorFixture.start();
    for (const [size, status] of [
      [MAX_MANIFEST_BYTES, 200],
      [MAX_MANIFEST_BYTES + 1, 404],
    ] as const) {
      const digest = fixture.registry.addBlob('a/b', Buffer.from('{}'.padEnd(size)));
      fixture.registry.repository('a/b').tags.set('large', digest);
      for (const reference of ['large', digest]) {
        for (const method of ['HEAD', 'GET']) {
          const response = await fixture.get(`a/b/manifests/${reference}`, { method });
          const body = await response.arrayBuffer();
          const what = `${method} of ${size} bytes by ${reference}`;
          assert.equal(response.status, status, what);
          if (method === 'GET' && status === 200) assert.equal(body.byteLength, size, what);
        }
      }
    }
  });

  it('relays tags/list and referrers, with links that lead back to the mirror', async () => {
    await using fixture = await MirrorFixture.start();
    const digest = digestOf(Buffer.from('subject'));
    fixture.registry.intercept = (request, response) => {
      const next = request.url?.includes('last=')
        ? {}
        : { Link: '</v2/a/b/tags/list?last=v1&n=1>; rel="next"' };
      response.writeHead(200, {
        'Content-Type': 'application/json',
        'OCI-Filters-Applied': 'artifactType',
        ...next,
      });
      response.end(JSON.stringify({ asked: request.url }));
      return true;
    };
    const response = await fetch(`${fixture.url}/v2/a/b/tags/list?n=1&ns=${fixture.registry.host}`);
    assert.deepEqual(await response.json(), { asked: '/v2/a/b/tags/list?n=1' });
    const link = response.headers.get('link');
    assert.equal(
      link,
      `</v2/a/b/tags/list?last=v1&n=1&ns=${encodeURIComponent(fixture.registry.host)}>; rel="next"`,
    );
    const byPath = await fetch(`${fixture.url}/v2/${fixture.registry.host}/a/b/tags/list?n=1`);
    const pathLink = byPath.headers.get('link');
    assert.equal(pathLink, `</v2/${fixture.registry.host}/a/b/tags/list?last=v1&n=1>; rel="next"`);
    const referrers = await fixture.get(`a/b/referrers/${digest}`);
    assert.equal(referrers.headers.get('oci-filters-applied'), 'artifactType');
    assert.deepEqual(await referrers.json(), { asked: `/v2/a/b/referrers/${digest}` });
  });

  it('sends the right Content-Type for lists, and refuses referrers that are no JSON', async () => {
    await using fixture = await MirrorFixture.start();
    const digest = digestOf(Buffer.from('subject'));
    let type = 'application/json; charset=utf-8';
    fixture.registry.intercept = (_request, response) => {
      const link =
        '</v2/a/b/tags/list?last=v1>; rel="preload"; as="script", <http://evil.example/>; rel="next"';
      response.writeHead(200, { 'Content-Type': type, Link: link }).end('{}');
      return true;
    };
    const typeOf = async (path: string): Promise<string | null> =>
      (await fixture.get(path)).headers.get('content-type');
    for (type of ['application/json; charset=utf-8', 'application/vnd.oci.image.index.v1+json']) {
      assert.equal(await typeOf(`a/b/referrers/${digest}`), 'application/vnd.oci.image.index.v1+json');
    }
    type = 'text/html';
    assert.equal(await typeOf('a/b/tags/list'), 'application/json');
    const link = (await fixture.get('a/b/tags/list')).headers.get('link') ?? '';
    assert.match(link, /^<\/v2\/a\/b\/tags\/list\?last=v1&ns=[^>]*>; rel="next"$/);
    const refused = await fixture.get(`a/b/referrers/${digest}`);
    assert.equal(refused.status, 404);
    assert.match(await refused.text(), /upstream_protocol/);
  });

  it('drains: refuses new requests, and lets running responses end', async () => {
    await using fixture = await MirrorFixture.start();
    const bytes = seededBytes(1000);
    const digest = fixture.registry.addBlob('a/b', bytes);
    const asked = Promise.withResolvers<() => void>();
    fixture.registry.intercept = (_request, response) => {
      asked.resolve(() => {
        response.writeHead(200, { 'Content-Length': bytes.length });
        response.end(bytes);
      });
      return true;
    };
    const running = fixture.get(`a/b/blobs/${digest}`);
    const answer = await asked.promise;
    const drained = fixture.mirror.drain(10_000);
    await assert.rejects(fetch(`${fixture.url}/v2/`));
    answer();
    assert.ok(Buffer.from(await (await running).arrayBuffer()).equals(bytes));
    await drained;
  });

  it('drains: cuts responses cleanly that do not end in time', async () => {
    await using fixture = await MirrorFixture.start();
    const bytes = seededBytes(40 * MIB);
    const digest = fixture.registry.addBlob('a/b', bytes);
    fixture.registry.intercept = (_request, response) => {
      response.writeHead(200, { 'Content-Length': bytes.length });
      response.write(bytes.subarray(0, 10 * MIB));
      return true;
    };
    const { port } = new URL(fixture.url);
    const client = connect(Number(port), '127.0.0.1');
    let got = 0;
    const some = Promise.withResolvers<void>();
    client.on('data', (part: Buffer) => {
      got += part.length;
      if (got > 5 * MIB) some.resolve();
    });
    client.write(
      `GET /v2/a/b/blobs/${digest}?ns=${fixture.registry.host} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
    );
    await some.promise;
    const ended = once(client, 'end'); // a FIN; a reset would be an error
    await fixture.mirror.drain(50);
    await ended;
    assert.ok(fixture.reports.some(({ error }) => isWeirError(error, 'draining')));
  });

  it('names the address that is in use', async () => {
    await using fixture = await MirrorFixture.start();
    const port = Number(new URL(fixture.url).port);
    await assert.rejects(
      MirrorFixture.start({ mirror: { listen: [{ host: '127.0.0.1', port }] } }),
      (error) => isWeirError(error, 'address_in_use') && error.message.includes(String(port)),
    );
  });
});
