import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MIB } from '../../../../src/util/clock.ts';
import { generateImage, type GeneratedImage } from '../../../../src/cli/demo/image.ts';
import { EmbeddedRegistry } from '../../../../src/cli/demo/embedded-registry.ts';
import { digestOf, type Digest } from '../../../../src/oci/digest.ts';

describe('embedded registry', () => {
  let directory = '';
  let image: GeneratedImage;
  let registry: EmbeddedRegistry;
  let layer: Digest;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'weir-test-'));
    image = await generateImage(directory, { seed: 'r', layers: [MIB] });
    layer = [...image.blobs.values()].sort((a, b) => b.size - a.size)[0]?.digest as Digest;
    registry = await EmbeddedRegistry.start();
    registry.add('a/b', 'v1', image);
  });
  after(async () => {
    await registry.close();
    await rm(directory, { recursive: true });
  });
  const get = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(new URL(path, registry.url), init);

  it('answers the ping and lists tags', async () => {
    assert.equal((await get('/v2/')).status, 200);
    assert.deepEqual(await (await get('/v2/a/b/tags/list')).json(), { name: 'a/b', tags: ['v1'] });
  });

  it('serves manifests by tag and digest, and HEAD without a body', async () => {
    for (const reference of ['v1', image.top.digest]) {
      const answer = await get(`/v2/a/b/manifests/${reference}`);
      assert.equal(answer.headers.get('docker-content-digest'), image.top.digest);
      assert.equal(answer.headers.get('content-type'), image.top.mediaType);
      assert.equal(digestOf(Buffer.from(await answer.arrayBuffer())), image.top.digest);
    }
    const head = await get('/v2/a/b/manifests/v1', { method: 'HEAD' });
    assert.equal(head.headers.get('content-length'), String(image.top.size));
  });

  it('serves ranges, and counts what it sends', async () => {
    registry.resetStats();
    const size = image.blobs.get(layer)?.size ?? 0;
    const part = await get(`/v2/a/b/blobs/${layer}`, { headers: { range: 'bytes=100-' } });
    assert.equal(part.status, 206);
    assert.equal(part.headers.get('content-range'), `bytes 100-${size - 1}/${size}`);
    assert.equal((await part.arrayBuffer()).byteLength, size - 100);
    const beyond = await get(`/v2/a/b/blobs/${layer}`, { headers: { range: `bytes=${size}-` } });
    assert.equal(beyond.status, 416);
    assert.deepEqual(registry.stats, {
      requests: 2,
      manifestRequests: 0,
      blobRequests: 2,
      bytes: size - 100,
      blobBytes: size - 100,
    });
  });

  it('refuses unknown content', async () => {
    const absent = digestOf(Buffer.from('absent'));
    for (const path of ['/v2/a/c/manifests/v1', '/v2/a/b/manifests/v2', `/v2/a/b/blobs/${absent}`, '/x']) {
      assert.equal((await get(path)).status, 404, path);
    }
    assert.equal((await get('/v2/', { method: 'POST' })).status, 405);
  });

  it('limits the rate of all connections together', async () => {
    await using slow = await EmbeddedRegistry.start({ rate: 10 * MIB });
    slow.add('a/b', 'v1', image);
    const started = performance.now();
    const blob = async (): Promise<ArrayBuffer> =>
      (await fetch(new URL(`/v2/a/b/blobs/${layer}`, slow.url))).arrayBuffer();
    await Promise.all([blob(), blob()]);
    assert.ok(performance.now() - started >= 190, '2 MiB at 10 MiB/s take 200 ms');
  });
});
