import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { pullImage, type PullEvent, type PullOptions } from '../../../../src/cli/client/pull-image.ts';
import { KIB, systemClock, type Clock } from '../../../../src/util/clock.ts';
import { blobPath, generateImage, type GeneratedImage } from '../../../../src/cli/demo/image.ts';
import { EmbeddedRegistry, type RegistryOptions } from '../../../../src/cli/demo/embedded-registry.ts';
import { digestOf, type Digest } from '../../../../src/oci/digest.ts';
import { parseImageReference, type ImageReference } from '../../../../src/oci/reference.ts';

const NAME = 'org/app';

/** Retries at once. */
const fastClock: Clock = { ...systemClock, sleep: async () => {} };

async function serve(of: GeneratedImage, options: RegistryOptions = {}): Promise<EmbeddedRegistry> {
  const registry = await EmbeddedRegistry.start(options);
  registry.add(NAME, 'v1', of);
  return registry;
}
const referenceTo = (registry: EmbeddedRegistry, suffix = ':v1'): ImageReference =>
  parseImageReference(`${registry.host}/${NAME}${suffix}`);

const rolesOf = (pulled: Awaited<ReturnType<typeof pullImage>>): readonly string[] =>
  pulled.blobs.map(({ role }) => role).sort();

const pull = (registry: EmbeddedRegistry, more: Partial<PullOptions> = {}): ReturnType<typeof pullImage> =>
  pullImage({ image: referenceTo(registry), clock: fastClock, ...more });

describe('pulling an image', () => {
  let directory = '';
  let image: GeneratedImage;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'weir-test-'));
    image = await generateImage(join(directory, 'a'), { seed: 'a', layers: [300 * KIB, 1, 0, 64 * KIB, 5] });
  });
  after(() => rm(directory, { recursive: true }));

  it('fetches everything once, as containerd does, and checks it', async () => {
    const log: string[] = [];
    await using registry = await serve(image, {
      intercept: (request) => {
        log.push(`${request.method} ${request.url?.replace(/sha256:(.{4}).*/, '$1')}`);
        return false;
      },
    });
    const events: PullEvent[] = [];
    const pulled = await pull(registry, { onProgress: (event) => events.push(event) });
    assert.equal(pulled.digest, image.top.digest);
    assert.deepEqual(new Set(pulled.blobs.map(({ digest }) => digest)), new Set(image.blobs.keys()));
    assert.equal(pulled.bytes, image.size);
    assert.equal(pulled.requests, image.blobs.size + 1);
    assert.equal(registry.stats.bytes, image.size);
    assert.deepEqual(log.slice(0, 2), [
      `HEAD /v2/${NAME}/manifests/v1`,
      `GET /v2/${NAME}/manifests/${image.top.digest.slice(7, 11)}`,
    ]);
    assert.equal(events.filter(({ kind }) => kind === 'finished').length, image.blobs.size - 1);
    assert.ok(pulled.blobs.every(({ source }) => source === 'registry'));
  });

  it('hands the content to the sink, and waits for it', async () => {
    await using registry = await serve(image);
    const parts = new Map<Digest, Buffer[]>();
    await pull(registry, {
      sink: async (blob, chunk) => {
        parts.set(blob.digest, [...(parts.get(blob.digest) ?? []), Buffer.from(chunk)]);
        await Promise.resolve();
      },
    });
    for (const [digest, pieces] of parts) assert.equal(digestOf(Buffer.concat(pieces)), digest);
    assert.equal(parts.size, image.blobs.size - 1); // all but the manifest; the smallest tar is no empty blob
  });

  it('never has more than three blobs in flight', async () => {
    // Counted at the client: the server learns of a response's end after the client has gone on to the next one.
    let [running, most] = [0, 0];
    await using registry = await serve(image);
    await pull(registry, {
      onProgress: ({ kind }) => {
        if (kind === 'started') most = Math.max(most, (running += 1));
        if (kind === 'finished') running -= 1;
      },
    });
    assert.equal(most, 3);
    assert.equal(running, 0);
  });

  it('pulls by digest', async () => {
    await using registry = await serve(image);
    const pulled = await pull(registry, { image: referenceTo(registry, `@${image.top.digest}`) });
    assert.equal(pulled.digest, image.top.digest);
  });

  it('asks a mirror with ?ns=, and reads its Weir-Source', async () => {
    const queries = new Set<string | undefined>();
    await using mirror = await serve(image, {
      intercept: (request, response) => {
        queries.add(request.url?.split('?')[1]);
        response.setHeader('Weir-Source', 'store');
        return false;
      },
    });
    const pulled = await pull(mirror, {
      image: parseImageReference(`ghcr.io/${NAME}:v1`),
      mirror: mirror.url,
    });
    assert.deepEqual([...queries], ['ns=ghcr.io']);
    assert.ok(pulled.blobs.every(({ source }) => source === 'store'));
  });

  it('resumes a cut blob at the byte where it stopped, as long as bytes advance', async () => {
    const [layer] = [...image.blobs.values()].sort((a, b) => b.size - a.size);
    const ranges: (string | undefined)[] = [];
    await using registry = await serve(image, {
      intercept: (request, response) => {
        if (!request.url?.endsWith(layer?.digest ?? '')) return false;
        ranges.push(request.headers.range);
        const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
        if (start > 250 * KIB) return false;
        void cutAfter(
          request,
          response,
          blobPath(image.directory, layer?.digest ?? ('' as Digest)),
          start,
          50 * KIB,
        );
        return true;
      },
    });
    const pulled = await pull(registry);
    assert.ok(ranges.length >= 6, ranges.join());
    assert.deepEqual(ranges.slice(0, 3), [undefined, `bytes=${50 * KIB}-`, `bytes=${100 * KIB}-`]);
    assert.ok(pulled.blobs.some(({ retries }) => retries >= 5));
  });

  it('accepts a whole answer to a ranged request, and skips the bytes that it has', async () => {
    const [layer] = [...image.blobs.values()].sort((a, b) => b.size - a.size);
    let cut = false;
    await using registry = await serve(image, {
      intercept: (request, response) => {
        if (!request.url?.endsWith(layer?.digest ?? '')) return false;
        delete request.headers.range; // a registry without ranges
        if (cut) return false;
        cut = true;
        void cutAfter(
          request,
          response,
          blobPath(image.directory, layer?.digest ?? ('' as Digest)),
          0,
          100_001,
        );
        return true;
      },
    });
    assert.equal((await pull(registry)).bytes, image.size);
  });

  it('gives up after four attempts without a byte', async () => {
    let attempts = 0;
    await using registry = await serve(image, {
      intercept: (request, response) => {
        if (!request.url?.includes('/blobs/')) return false;
        attempts += 1;
        response.destroy();
        return true;
      },
    });
    await assert.rejects(pull(registry, { concurrency: 1 }), { code: 'upstream_cut' });
    assert.equal(attempts, 4);
  });

  it('reports that a mirror hands a blob over to the registry in mid-blob', async () => {
    const [layer] = [...image.blobs.values()].sort((a, b) => b.size - a.size);
    await using registry = await serve(image, {
      intercept: (request, response) => {
        if (!request.url?.includes(layer?.digest ?? '')) return false;
        if (request.headers.range !== undefined) response.writeHead(404).end();
        else
          void cutAfter(
            request,
            response,
            blobPath(image.directory, layer?.digest ?? ('' as Digest)),
            0,
            70_000,
          );
        return true;
      },
    });
    await assert.rejects(pull(registry, { mirror: registry.url }), {
      code: 'handed_over',
      message: /leaves the rest of sha256:.* to the registry, from byte 70000 on/,
    });
  });

  it('asks the fallback from the byte where the mirror stopped, and then the mirror again', async () => {
    const [layer] = [...image.blobs.values()].sort((a, b) => b.size - a.size);
    assert.ok(layer !== undefined);
    let tags = 0;
    await using mirror = await serve(image, {
      intercept: (request, response) => {
        if (request.method === 'HEAD') {
          tags += 1;
          response.writeHead(503).end();
          return true;
        }
        if (!request.url?.includes(layer.digest)) return false;
        if (request.headers.range !== undefined) response.writeHead(404).end();
        else void cutAfter(request, response, blobPath(image.directory, layer.digest), 0, 70_000);
        return true;
      },
    });
    const asked: string[] = [];
    await using registry = await serve(image, {
      intercept: ({ method, url = '', headers }) => {
        asked.push(`${method} ${url.split('/').slice(-2, -1)[0]} ${headers.range ?? ''}`);
        assert.ok(!url.includes('ns='), 'the registry is asked as a registry');
        return false;
      },
    });
    const reasons: string[] = [];
    const pulled = await pull(registry, {
      mirror: mirror.url,
      fallback: registry.url,
      onFallback: ({ code }) => reasons.push(code),
    });
    assert.equal(pulled.bytes, image.size);
    assert.equal(tags, 1, 'what the mirror refuses is not asked of it again');
    assert.deepEqual(asked, ['HEAD manifests ', 'GET blobs bytes=70000-']);
    assert.deepEqual(reasons, ['upstream_status', 'blob_unknown']);
    const sourceOf = (digest: Digest): string | undefined =>
      pulled.blobs.find((blob) => blob.digest === digest)?.source;
    assert.equal(sourceOf(layer.digest), 'registry');
    assert.equal(sourceOf(pulled.digest), 'mirror');
  });

  it('fails if the fallback fails too, and sends no request once it is aborted', async () => {
    await using mirror = await serve(image, {
      intercept: (_, response) => {
        response.writeHead(404).end();
        return true;
      },
    });
    await using registry = await serve(image);
    const options = { mirror: mirror.url, fallback: registry.url };
    await assert.rejects(pull(registry, { ...options, image: referenceTo(registry, ':none') }), {
      code: 'manifest_unknown',
    });
    const before = registry.stats.requests;
    await assert.rejects(pull(registry, { ...options, signal: AbortSignal.abort(new Error('enough')) }), {
      code: 'aborted',
    });
    assert.equal(registry.stats.requests, before);
  });

  it('refuses wrong bytes: a layer, a manifest, more bytes than announced', async () => {
    const spoiled = await generateImage(join(directory, 'b'), { seed: 'b', layers: [100 * KIB] });
    const [layer] = [...spoiled.blobs.values()].sort((a, b) => b.size - a.size);
    const path = blobPath(spoiled.directory, layer?.digest ?? ('' as Digest));
    const bytes = await readFile(path);
    bytes[50_000] = (bytes[50_000] ?? 0) ^ 1;
    await writeFile(path, bytes);
    await using registry = await serve(spoiled);
    await assert.rejects(pull(registry), { code: 'digest_mismatch' });

    await using liar = await serve(image, {
      intercept: (request, response) => {
        if (request.method !== 'GET' || !request.url?.includes('/manifests/')) return false;
        response.end('{}');
        return true;
      },
    });
    await assert.rejects(pull(liar), { code: 'digest_mismatch' });

    await using longer = await serve(image, {
      intercept: (request, response) => {
        if (!request.url?.includes('/blobs/')) return false;
        response.end(Buffer.alloc(400 * KIB));
        return true;
      },
    });
    await assert.rejects(pull(longer), { code: 'digest_mismatch' });
  });

  it('does not repeat a request for missing content, and names that content', async () => {
    await using registry = await serve(image);
    await assert.rejects(pull(registry, { image: referenceTo(registry, ':none') }), {
      code: 'manifest_unknown',
      message: /status 404 for manifests\/none of 127\.0\.0\.1:\d+\/org\/app$/,
    });
    assert.equal(registry.stats.requests, 1);
  });

  it('ends at once when it is aborted, with the reason of the signal', async () => {
    const controller = new AbortController();
    await using registry = await serve(image, { rate: 100 * KIB });
    const reason = new Error('enough');
    const running = pull(registry, {
      signal: controller.signal,
      onProgress: (event) => event.kind === 'bytes' && controller.abort(reason),
    });
    await assert.rejects(running, reason);
  });
});

describe('pulling an index', () => {
  const platforms = [
    { os: 'linux', architecture: 'amd64' },
    { os: 'linux', architecture: 'arm64', variant: 'v8' },
  ];
  let directory = '';
  let image: GeneratedImage;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'weir-test-'));
    image = await generateImage(directory, { seed: 'i', layers: [1000, 2000], platforms });
  });
  after(() => rm(directory, { recursive: true }));

  async function pullIndex(more: Partial<PullOptions>): ReturnType<typeof pullImage> {
    await using registry = await EmbeddedRegistry.start();
    registry.add(NAME, 'v1', image);
    return await pullImage({ image: parseImageReference(`${registry.host}/${NAME}:v1`), ...more });
  }

  it('takes one platform, or all', async () => {
    const one = await pullIndex({ platform: { os: 'linux', architecture: 'arm64' } });
    assert.deepEqual(rolesOf(one), ['config', 'index', 'layer', 'layer', 'manifest']);
    const all = await pullIndex({ allPlatforms: true });
    assert.equal(all.blobs.length, 9);
    assert.equal(all.bytes, image.size);
  });

  it('lists the platforms of the index', async () => {
    await assert.rejects(pullIndex({ platform: { os: 'linux', architecture: 's390x' } }), {
      code: 'manifest_unknown',
      message: /no manifest for linux\/s390x \(it has: linux\/amd64, linux\/arm64\/v8\)/,
    });
  });
});

describe('a registry that names no digest in HEAD', () => {
  it('is asked by GET', async () => {
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        config: { mediaType: 'x/y', digest: digestOf(Buffer.from('{}')), size: 2 },
        layers: [],
      }),
    );
    const server = createServer((request, response) => {
      const body = request.url?.includes('/blobs/') ? Buffer.from('{}') : manifest;
      response.setHeader('content-length', body.length).end(request.method === 'HEAD' ? undefined : body);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const pulled = await pullImage({ image: parseImageReference(`${host}/a:b`) });
    assert.equal(pulled.digest, digestOf(manifest));
    server.closeAllConnections();
    server.close();
  });
});

/** Announces all from `start` on, sends `length` bytes of it, and closes. */
async function cutAfter(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  start: number,
  length: number,
): Promise<void> {
  const content = await readFile(path);
  const ranged = request.headers.range !== undefined;
  response.writeHead(ranged ? 206 : 200, {
    'content-length': content.length - start,
    ...(ranged ? { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` } : {}),
  });
  response.write(content.subarray(start, start + length), () => response.socket?.end());
}
