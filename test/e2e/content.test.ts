/** Content of every shape that registries hold goes through the mirror unchanged. */
import assert from 'node:assert/strict';
import { KIB, MIB } from '../../src/util/clock.ts';
import { digestHex } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import {
  assertCopied,
  assertIntact,
  assertNoBypass,
  assertOk,
  assertSentOnce,
} from '../support/assertions.ts';
import { request } from '../support/client.ts';
import { Containerd } from '../support/containerd.ts';
import { Containers } from '../support/containers.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { shared } from '../support/fixture.ts';
import {
  EMPTY_LAYER,
  blob,
  buildArtifact,
  buildImage,
  buildIndex,
  buildRunnableImage,
  descriptorOf,
  type TestImage,
} from '../support/images.ts';
import { push, pushBlob } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { WeirNode } from '../support/weir.ts';

const ARM = { os: 'linux', architecture: 'arm64' };
const AMD = { os: 'linux', architecture: 'amd64' };

requires(
  'root',
  'docker-registry',
  'containerd',
  'ctr',
  'skopeo',
)('content', () => {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    const registries = { 'registry.test': { endpoint: registry.url } };
    const weir = stack.use(await WeirNode.start({ registries }));
    const containerd = stack.use(await Containerd.start());
    await containerd.writeHosts({ registry: registry.host, server: registry.url, mirrors: [weir.url] });
    const mirrored = { registry: 'registry.test', location: registry.host, mirror: weir.host };
    const containers = stack.use(await Containers.create(mirrored));
    return { registry, weir, containerd, containers };
  });

  const pushed = async (repository: string, image: TestImage): Promise<TestImage> => {
    const { registry } = lab();
    await push(registry.url, repository, 'v1', image);
    registry.accessLog.clear();
    return image;
  };

  for (const format of ['oci', 'docker'] as const) {
    const name = format === 'oci' ? 'a multi-arch index' : 'a schema 2 manifest list';

    it(`containerd pulls its own platform of ${name}, and no other`, async () => {
      const { registry, containerd } = lab();
      const options = { layers: [200 * KIB], format };
      const own = await buildRunnableImage({ seed: `own-${format}`, ...options });
      const otherPlatform = own.platform?.architecture === 'arm64' ? AMD : ARM;
      const other = await buildImage({ seed: `other-${format}`, ...options, platform: otherPlatform });
      await pushed(`content/list-${format}`, buildIndex([other, own], format));
      await containerd.cri.pullOk(`${registry.host}/content/list-${format}:v1`);
      await assertIntact(containerd, own);
      assertSentOnce(registry.accessLog, own);
      assertNoBypass(registry.accessLog);
      assert.equal(registry.accessLog.bytes(digestHex(other.digest)), 0);
    });

    it(`skopeo copies every platform of ${name}`, async () => {
      const { registry, containers } = lab();
      const children = await Promise.all(
        [AMD, ARM].map((platform) =>
          buildImage({ seed: `all-${format}-${platform.architecture}`, platform, format }),
        ),
      );
      const index = await pushed(`content/all-${format}`, buildIndex(children, format));
      const { result, folder } = await containers.skopeoCopy(
        `registry.test/content/all-${format}:v1`,
        '--multi-arch=all',
      );
      assertOk('skopeo copy --multi-arch=all', result);
      await assertCopied(folder, { ...index, blobs: children.flatMap(({ blobs }) => blobs) });
      assertNoBypass(registry.accessLog);
    });
  }

  it('containerd pulls an empty layer (a tar without entries)', async () => {
    const { registry, containerd } = lab();
    const image = await pushed(
      'content/empty',
      await buildImage({ seed: 'empty', layers: [1000, EMPTY_LAYER] }),
    );
    await containerd.cri.pullOk(`${registry.host}/content/empty:v1`);
    await assertIntact(containerd, image);
    assertNoBypass(registry.accessLog);
  });

  it('the mirror serves a blob of 0 bytes', async () => {
    const { registry, weir } = lab();
    const nothing = blob('application/octet-stream', Buffer.alloc(0));
    await pushBlob(registry.url, 'content/nothing', nothing);
    const url = weir.urlOf(registry.host, `content/nothing/blobs/${nothing.digest}`);
    for (const method of ['GET', 'HEAD', 'GET']) {
      const answer = await request(url, { method });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get('content-length'), '0');
      assert.equal(answer.headers.get('docker-content-digest'), nothing.digest);
      assert.equal(answer.body.length, 0);
      assert.equal(answer.broken, undefined);
    }
  });

  it('the mirror serves a blob of 1 byte over HTTP and to ctr content fetch', async () => {
    const { registry, weir, containerd } = lab();
    const artifact = await pushed('content/byte', buildArtifact(Buffer.from('x')));
    const { digest = '' } = artifact.blobs[1] ?? {};
    const url = weir.urlOf(registry.host, `content/byte/blobs/${digest}`);
    assert.equal((await request(url)).body.toString(), 'x');
    const part = await request(url, { headers: { range: 'bytes=0-' } });
    assert.equal(part.status, 206);
    assert.equal(part.headers.get('content-range'), 'bytes 0-0/1');
    const beyond = await request(url, { headers: { range: 'bytes=1-' } });
    assert.equal(beyond.status, 416);
    assert.equal(beyond.headers.get('content-range'), 'bytes */1');
    const flags = ['--hosts-dir', containerd.hostsFolder];
    await containerd.ctrOk(['content', 'fetch', ...flags, `${registry.host}/content/byte:v1`]);
    assert.equal((await containerd.content(artifact.digest)).stdout, Buffer.from(artifact.bytes).toString());
    assertSentOnce(registry.accessLog, artifact);
    assertNoBypass(registry.accessLog);
  });

  it('containerd pulls a layer of 300 MiB', async () => {
    const { registry, containerd } = lab();
    const image = await pushed('content/large', await buildImage({ seed: 'large', layers: [300 * MIB] }));
    await containerd.cri.pullOk(`${registry.host}/content/large:v1`);
    await assertIntact(containerd, image);
    assertSentOnce(registry.accessLog, image);
    assertNoBypass(registry.accessLog);
  });

  it('the mirror serves an artifact that refers to an image, and the referrers tag', async () => {
    const { registry, weir } = lab();
    const image = await pushed('content/subject', await buildImage({ seed: 'subject' }));
    const artifact = buildArtifact(Buffer.from('a signature'), image);
    const list = { ...buildIndex([artifact]), children: [artifact] };
    // docker-registry 2.8 has no referrers endpoint. The spec's fallback is a tag named for the subject.
    const tag = image.digest.replace(':', '-');
    await push(registry.url, 'content/subject', tag, list);
    const at = (path: string): string => weir.urlOf(registry.host, `content/subject/${path}`);
    const endpoint = await request(at(`referrers/${image.digest}`));
    assert.equal(endpoint.status, 404);
    const fallback = await request(at(`manifests/${tag}`));
    assert.equal(fallback.status, 200);
    assert.deepEqual(JSON.parse(fallback.body.toString()).manifests[0], descriptorOf(artifact));
    const manifest = await request(at(`manifests/${artifact.digest}`));
    assert.equal(manifest.digest, artifact.digest);
    const payload = artifact.blobs[1]?.digest ?? '';
    assert.equal((await request(at(`blobs/${payload}`))).body.toString(), 'a signature');
  });

  it('the mirror passes the referrers endpoint through, with the filter and its header', async () => {
    const { registry } = lab();
    await using proxy = await FaultProxy.start(registry.url);
    await using weir = await WeirNode.start();
    const image = await pushed('content/referred', await buildImage({ seed: 'referred' }));
    const index = buildIndex([buildArtifact(Buffer.from('an sbom'), image)]);
    const headers = { 'content-type': MEDIA_TYPES.ociIndex, 'oci-filters-applied': 'artifactType' };
    const fault = { kind: 'answer', status: 200, headers, body: index.bytes } as const;
    proxy.setRules({ path: /\/referrers\//, fault });
    const path = `content/referred/referrers/${image.digest}`;
    const filter = 'artifactType=application%2Fvnd.weir.test';
    const answer = await request(`${weir.urlOf(proxy.host, path)}&${filter}`);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), MEDIA_TYPES.ociIndex);
    assert.equal(answer.headers.get('oci-filters-applied'), 'artifactType');
    assert.equal(answer.digest, index.digest);
    const asked = proxy.exchanges(/referrers/)[0]?.path ?? '';
    assert.ok(asked.includes(filter), `the filter reached upstream: ${asked}`);
    assert.ok(!asked.includes('ns='), `the mirror's own parameter does not reach upstream: ${asked}`);
  });

  it('the mirror serves tags/list, and the link to its next page leads through the mirror', async () => {
    const { registry, weir } = lab();
    const image = await buildImage({ seed: 'tags' });
    for (const tag of ['v1', 'v2', 'v3']) await push(registry.url, 'content/tags', tag, image);
    const list = await request(weir.urlOf(registry.host, 'content/tags/tags/list'));
    assert.deepEqual(JSON.parse(list.body.toString()), { name: 'content/tags', tags: ['v1', 'v2', 'v3'] });

    // docker-registry 2.8 has no pages, so the proxy answers like a registry that has them.
    await using proxy = await FaultProxy.start(registry.url);
    const headers = {
      'content-type': 'application/json',
      link: '</v2/content/tags/tags/list?last=v2&n=2>; rel="next"',
    };
    const fault = {
      kind: 'answer',
      status: 200,
      headers,
      body: '{"name":"content/tags","tags":[]}',
    } as const;
    proxy.setRules({ path: /tags\/list\?n=2/, fault });
    const page = await request(`${weir.urlOf(proxy.host, 'content/tags/tags/list')}&n=2`);
    const [, target = '', relation] = /^<([^>]+)>; (.*)$/.exec(page.headers.get('link') ?? '') ?? [];
    assert.equal(relation, 'rel="next"');
    const next = new URL(target, weir.url);
    assert.equal(next.host, weir.host);
    assert.equal(next.searchParams.get('ns'), proxy.host);
    assert.equal((await request(next.href)).status, 200);
    assert.equal(proxy.exchanges(/last=v2/).length, 1);
  });
});
