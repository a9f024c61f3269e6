/** Registries that answer in odd ways, as some were seen to: what a direct pull takes, a pull through the mirror takes. */
import assert from 'node:assert/strict';
import { createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { gzipSync } from 'node:zlib';
import { KIB } from '../../../src/util/clock.ts';
import { MEDIA_TYPES } from '../../../src/oci/manifest.ts';
import { seededBytes } from '../../support/bytes.ts';
import { HttpServer } from '../../support/http-server.ts';
import { MirrorFixture, type MirrorFixtureOptions } from '../../support/mirror-fixture.ts';
import { ShiftedClock } from '../../support/shifted-clock.ts';

const LAYER = seededBytes(300 * KIB, 'odd');

interface Scene extends AsyncDisposable {
  readonly fixture: MirrorFixture;
  readonly layer: string;
  readonly manifest: string;
}

async function sceneOf(options: MirrorFixtureOptions = {}): Promise<Scene> {
  const fixture = await MirrorFixture.start(options);
  const { layer, manifest } = fixture.registry.addImage('a/b', '1', LAYER);
  return { fixture, layer, manifest, [Symbol.asyncDispose]: () => fixture[Symbol.asyncDispose]() };
}

async function codeOf(answer: Response): Promise<string> {
  const { errors } = (await answer.json()) as { errors: readonly { readonly code: string }[] };
  return errors[0]?.code ?? '';
}

describe('Mirror: odd registries', () => {
  for (const status of [400, 402, 405, 406, 410, 451]) {
    it(`a HEAD that is answered ${status} is no registry that is away: the new image is delivered`, async () => {
      await using scene = await sceneOf();
      const { registry } = scene.fixture;
      assert.equal(
        (await scene.fixture.get('a/b/manifests/1')).headers.get('docker-content-digest'),
        scene.manifest,
      );
      const { manifest } = registry.addImage('a/b', '1', seededBytes(KIB, 'new'));
      registry.intercept = (request, response) => {
        if (request.method !== 'HEAD') return false;
        response.writeHead(status).end();
        return true;
      };
      const answer = await scene.fixture.get('a/b/manifests/1');
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get('docker-content-digest'), manifest);
      assert.equal(answer.headers.get('weir-stale'), null);
    });
  }

  it('an answer of 410 to everything is not held against 24 hours of an old image', async () => {
    await using scene = await sceneOf();
    await scene.fixture.get('a/b/manifests/1');
    scene.fixture.registry.intercept = (_, response) => {
      response.writeHead(410).end();
      return true;
    };
    assert.equal((await scene.fixture.get('a/b/manifests/1')).status, 404);
  });

  it('access is not held while the registry answers, however oddly', async () => {
    await using scene = await sceneOf({ accessTtl: 1 });
    await scene.fixture.get('a/b/manifests/1');
    const path = `a/b/blobs/${scene.layer}`;
    await (await scene.fixture.get(path)).arrayBuffer();
    scene.fixture.registry.intercept = (_, response) => {
      response.writeHead(410).end();
      return true;
    };
    assert.equal((await scene.fixture.get(path)).status, 404);
  });

  it('a registry without HEAD is asked by GET, and for a while by GET at once', async () => {
    await using scene = await sceneOf({ accessTtl: 1 });
    const { registry } = scene.fixture;
    registry.intercept = (request, response) => {
      if (request.method !== 'HEAD') return false;
      response.writeHead(404).end();
      return true;
    };
    for (let turn = 0; turn < 3; turn++) {
      assert.equal((await scene.fixture.get('a/b/manifests/1')).status, 200);
      const blob = await scene.fixture.get(`a/b/blobs/${scene.layer}`);
      assert.ok(LAYER.equals(Buffer.from(await blob.arrayBuffer())));
    }
    const heads = registry.server.requests.filter(({ method }) => method === 'HEAD');
    assert.equal(heads.length, 1);
  });

  for (const status of [400, 401, 403, 404]) {
    it(`a kept token that is answered ${status} is dropped, and a new one counts`, async () => {
      const clock = new ShiftedClock();
      await using scene = await sceneOf({ upstreamClock: clock });
      const { registry } = scene.fixture;
      let tokens = 0;
      await using auth = await HttpServer.start((_, response) => {
        response.end(JSON.stringify({ token: `t${++tokens}`, expires_in: null, access_token: null }));
      });
      registry.intercept = (request, response) => {
        const { authorization } = request.headers;
        if (authorization === `Bearer t${tokens}`) return false;
        const challenge = { 'www-authenticate': `Bearer realm="${auth.url}/token" service="r"` };
        if (authorization === undefined) response.writeHead(401, challenge).end();
        else response.writeHead(status).end();
        return true;
      };
      assert.equal((await scene.fixture.get('a/b/manifests/1')).status, 200);
      const { manifest } = registry.addImage('a/b', '1', seededBytes(KIB, 'new'));
      tokens += 1; // the registry has dropped all tokens that it gave
      clock.advance(2_000);
      const answer = await scene.fixture.get('a/b/manifests/1');
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get('docker-content-digest'), manifest);
    });
  }

  it('a challenge that only /v2/ names is found there, and relayed', async () => {
    await using scene = await sceneOf();
    const { registry } = scene.fixture;
    await using auth = await HttpServer.start((_, response) => {
      response.end(JSON.stringify({ token: 't' }));
    });
    registry.intercept = (request, response) => {
      if (request.headers.authorization === 'Bearer t') return false;
      const challenge = { 'www-authenticate': `Bearer realm="${auth.url}/token",service="r"` };
      response.writeHead(401, request.url === '/v2/' ? challenge : {}).end();
      return true;
    };
    assert.equal((await scene.fixture.get('a/b/manifests/1')).status, 200);
    registry.intercept = (request, response) => {
      response.writeHead(401, request.url === '/v2/' ? { 'www-authenticate': 'Basic realm="r"' } : {}).end();
      return true;
    };
    const refused = await scene.fixture.get('c/d/manifests/1');
    assert.equal(refused.status, 401);
    assert.equal(refused.headers.get('www-authenticate'), 'Basic realm="r"');
  });

  it('of a header with one value the first line counts', async () => {
    await using scene = await sceneOf();
    scene.fixture.registry.intercept = (request, response) => {
      if (request.url?.includes('/manifests/') !== true) return false;
      response.setHeader('Content-Type', [MEDIA_TYPES.ociManifest, 'application/json']);
      response.setHeader('Docker-Content-Digest', [scene.manifest, scene.manifest]);
      const bytes = scene.fixture.registry.repository('a/b').blobs.get(scene.manifest as never);
      response.end(request.method === 'HEAD' ? undefined : bytes);
      return true;
    };
    for (const path of ['a/b/manifests/1', `a/b/manifests/${scene.manifest}`]) {
      const answer = await scene.fixture.get(path);
      assert.equal(answer.headers.get('content-type'), MEDIA_TYPES.ociManifest);
    }
  });

  it('a grant from the future is none', async () => {
    await using scene = await sceneOf();
    const { fixture } = scene;
    await fixture.get('a/b/manifests/1');
    const path = `a/b/blobs/${scene.layer}`;
    await (await fixture.get(path)).arrayBuffer();
    const repository = { registry: fixture.registry.host, name: 'a/b' } as never;
    fixture.catalog.setGrant(repository, 'anonymous', Date.now() + 3 * 86_400_000);
    fixture.registry.intercept = (_, response) => {
      response.writeHead(403).end();
      return true;
    };
    assert.equal((await fixture.get(path)).status, 403);
  });

  for (const [what, status] of [
    ['400', 400],
    ['429', 429],
    ['500', 500],
    ['no status at all', 0],
  ] as const) {
    it(`a blob that upstream answers with ${what} is BLOB_UNKNOWN, so that clients go on upstream`, async () => {
      await using scene = await sceneOf();
      scene.fixture.registry.intercept = (request, response) => {
        if (status === 0) request.socket.destroy();
        else response.writeHead(status).end();
        return true;
      };
      const answer = await scene.fixture.get(`a/b/blobs/${scene.layer}`);
      assert.equal(answer.status, 404);
      assert.equal(await codeOf(answer), 'BLOB_UNKNOWN');
    });
  }

  for (const encoding of ['aws-chunked', 'utf-8', 'none', 'binary', 'x-gzip', 'gzip']) {
    it(`bytes that are called ${encoding} and have the right length are taken as they are`, async () => {
      await using scene = await sceneOf();
      await scene.fixture.get('a/b/manifests/1');
      scene.fixture.registry.intercept = (request, response) => {
        if (request.url?.includes(scene.layer) !== true) return false;
        response.writeHead(200, { 'Content-Encoding': encoding, 'Content-Length': LAYER.length }).end(LAYER);
        return true;
      };
      const answer = await scene.fixture.get(`a/b/blobs/${scene.layer}`);
      assert.equal(answer.status, 200);
      assert.ok(LAYER.equals(Buffer.from(await answer.arrayBuffer())));
    });
  }

  it('bytes that are gzipped although nobody asked for it are unpacked', async () => {
    await using scene = await sceneOf();
    await scene.fixture.get('a/b/manifests/1');
    scene.fixture.registry.intercept = (request, response) => {
      if (request.url?.includes(scene.layer) !== true) return false;
      const bytes = gzipSync(LAYER);
      response.writeHead(200, { 'Content-Encoding': 'gzip', 'Content-Length': bytes.length }).end(bytes);
      return true;
    };
    const answer = await scene.fixture.get(`a/b/blobs/${scene.layer}`);
    assert.equal(answer.status, 200);
    assert.ok(Buffer.from(await answer.arrayBuffer()).equals(LAYER));
  });

  for (const framing of ['chunked', 'until the connection ends'] as const) {
    it(`a blob without Content-Length (${framing}) has the size that the manifest lists`, async () => {
      await using scene = await sceneOf();
      await scene.fixture.get('a/b/manifests/1');
      scene.fixture.registry.intercept = (request, response) => {
        if (request.url?.includes(scene.layer) !== true) return false;
        if (framing === 'chunked') response.writeHead(200, { 'Transfer-Encoding': 'chunked' });
        else {
          response.shouldKeepAlive = false;
          response.useChunkedEncodingByDefault = false;
          response.writeHead(200, { Connection: 'close' });
        }
        response.write(LAYER.subarray(0, 1000));
        response.end(request.method === 'HEAD' ? undefined : LAYER.subarray(1000));
        return true;
      };
      const head = await fetch(
        `${scene.fixture.url}/v2/a/b/blobs/${scene.layer}?ns=${scene.fixture.registry.host}`,
        { method: 'HEAD' },
      );
      assert.equal(head.headers.get('content-length'), String(LAYER.length));
      const answer = await scene.fixture.get(`a/b/blobs/${scene.layer}`);
      assert.equal(answer.status, 200);
      assert.ok(LAYER.equals(Buffer.from(await answer.arrayBuffer())));
    });
  }

  for (const status of [400, 403, 405, 416, 501]) {
    it(`a registry that answers ${status} to any Range sends the whole blob again after a cut`, async () => {
      await using scene = await sceneOf();
      await scene.fixture.get('a/b/manifests/1');
      let cuts = 0;
      scene.fixture.registry.intercept = (request, response) => {
        if (request.url?.includes(scene.layer) !== true) return false;
        if (request.headers.range !== undefined) response.writeHead(status).end();
        else if (cuts++ > 0) return false;
        else {
          response.writeHead(200, { 'Content-Length': LAYER.length });
          response.write(LAYER.subarray(0, LAYER.length / 2), () => response.destroy());
        }
        return true;
      };
      const answer = await scene.fixture.get(`a/b/blobs/${scene.layer}`);
      assert.equal(answer.status, 200);
      assert.ok(LAYER.equals(Buffer.from(await answer.arrayBuffer())));
    });
  }

  it('a blob that hangs, or a malformed answer, speaks for itself and not for its registry', async () => {
    await using scene = await sceneOf({ retries: 0 });
    const { registry } = scene.fixture;
    const other = registry.addImage('c/d', '1', seededBytes(KIB, 'other'));
    registry.intercept = (request, response) => {
      if (request.url?.includes(scene.layer) !== true) return false;
      if (request.url.includes('a/b')) response.socket?.write('nonsense\n\n');
      return true;
    };
    const path = `${scene.fixture.url}/v2/${registry.host}`;
    const failed = await fetch(`${path}/a/b/blobs/${scene.layer}`);
    assert.equal(failed.status, 404);
    const good = await fetch(`${path}/c/d/blobs/${other.layer}`);
    assert.equal(good.status, 200);
    await good.arrayBuffer();
  });

  it('reads headers of 100 KiB', async () => {
    await using scene = await sceneOf();
    const server: Server = createServer((socket: Socket) => {
      socket.once('data', () => {
        const head = Array.from({ length: 100 }, (_, index) => `X-${index}: ${'a'.repeat(KIB)}\r\n`).join('');
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${LAYER.length}\r\n${head}\r\n`);
        socket.end(LAYER);
      });
      socket.on('error', () => undefined);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    scene.fixture.registry.intercept = (request, response) => {
      if (request.url?.includes(scene.layer) !== true) return false;
      response.writeHead(307, { location: `http://127.0.0.1:${port}/storage` }).end();
      return true;
    };
    const answer = await scene.fixture.get(`a/b/blobs/${scene.layer}`);
    assert.equal(answer.status, 200);
    assert.ok(LAYER.equals(Buffer.from(await answer.arrayBuffer())));
    server.close();
  });

  it('gives a registry that is slow to begin longer with each attempt', async () => {
    await using scene = await sceneOf({ headerTimeout: 100, retries: 3 });
    const { registry } = scene.fixture;
    registry.intercept = (request, response) => {
      if (request.url?.includes('/v2/a/b/') !== true) return false;
      setTimeout(() => response.writeHead(404, { 'content-type': 'application/json' }).end('{}'), 250);
      return true;
    };
    const path = `${scene.fixture.url}/v2/${registry.host}/a/b`;
    for (const what of ['manifests/none', `blobs/${scene.layer.replace(/.{8}$/, '00000000')}`]) {
      const answer = await fetch(`${path}/${what}`);
      assert.equal(answer.status, 404);
      assert.match(await answer.text(), /"weir":"(?:manifest|blob)_unknown"/, what);
    }
  });
});
