import assert from 'node:assert/strict';
import { digestOf } from '../../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../../src/oci/manifest.ts';
import { parseManifestReference } from '../../../src/oci/reference.ts';
import type { RegistryHost } from '../../../src/oci/repository.ts';
import type { Credential } from '../../../src/upstream/credential.ts';
import { Registry } from '../../support/registry.ts';
import { requires } from '../../support/requires.ts';
import { TempDir } from '../../support/temp.ts';
import { TokenServer } from '../../support/token-server.ts';
import { writeFile } from 'node:fs/promises';
import { as, collect, failsWith, makeBlob, repositoryAt, TestUpstream } from './fixture.ts';

const layer = makeBlob(700_000, 7);
const config = { bytes: Buffer.from('{}'), digest: digestOf(Buffer.from('{}')) };
const manifest = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: { mediaType: MEDIA_TYPES.ociConfig, digest: config.digest, size: config.bytes.length },
    layers: [{ mediaType: MEDIA_TYPES.ociLayerGzip, digest: layer.digest, size: layer.bytes.length }],
  }),
);
const v1 = parseManifestReference('v1');
const ann: Credential = { kind: 'basic', username: 'ann', password: 'secret' };
const bob: Credential = { kind: 'basic', username: 'bob', password: 'other' };
const users = { ann: 'secret', bob: 'other' };

async function push(registry: Registry, name: string): Promise<void> {
  for (const { bytes, digest } of [config, layer]) {
    const started = await fetch(`${registry.url}/v2/${name}/blobs/uploads/`, { method: 'POST' });
    const target = new URL(started.headers.get('location') ?? '', registry.url);
    target.searchParams.set('digest', digest);
    const done = await fetch(target, {
      method: 'PUT',
      body: new Uint8Array(bytes),
      headers: { 'content-type': 'application/octet-stream' },
    });
    assert.equal(done.status, 201, await done.text());
  }
  const put = await fetch(`${registry.url}/v2/${name}/manifests/v1`, {
    method: 'PUT',
    body: manifest,
    headers: { 'content-type': MEDIA_TYPES.ociManifest },
  });
  assert.equal(put.status, 201, await put.text());
}

/** Pulls the image and checks everything that was pulled. */
async function pull(upstream: TestUpstream, host: string, credential?: Credential): Promise<void> {
  const repository = repositoryAt(host);
  const head = await upstream.headManifest(repository, v1, as(host, credential));
  assert.deepEqual(head, {
    digest: digestOf(manifest),
    mediaType: MEDIA_TYPES.ociManifest,
    size: manifest.length,
  });
  const fetched = await upstream.getManifest(repository, v1, as(host, credential));
  assert.deepEqual(Buffer.from(fetched.bytes), manifest);
  assert.deepEqual(await upstream.headBlob(repository, layer.digest, as(host, credential)), {
    size: layer.bytes.length,
  });
  const start = 123_456;
  const stream = await upstream.openBlob(repository, layer.digest, {
    ...as(host, credential),
    start,
  });
  assert.equal(stream.size, layer.bytes.length);
  assert.ok((await collect(stream, start)).equals(layer.bytes.subarray(start)));
  const tags = await upstream.passThrough(
    repository,
    'tags/list',
    new URLSearchParams(),
    as(host, credential),
  );
  assert.deepEqual(JSON.parse(Buffer.from(tags.body).toString()), { name: 'team/app', tags: ['v1'] });
}

requires(
  'docker-registry',
  'htpasswd',
  'openssl',
)('upstream: a real docker-registry', () => {
  let open: Registry;

  before(async () => {
    open = await Registry.start();
    await push(open, 'team/app');
  });
  after(async () => {
    await open[Symbol.asyncDispose]();
  });

  it('is pulled from without credentials', async () => {
    await using upstream = new TestUpstream();
    await pull(upstream, open.host);
    const repository = repositoryAt(open.host);
    await failsWith('manifest_unknown', upstream.getManifest(repository, parseManifestReference('v2')));
    await failsWith('blob_unknown', upstream.openBlob(repository, makeBlob(3).digest));
  });

  it('is pulled from behind htpasswd', async () => {
    await using registry = await Registry.start({ storage: open.storage, users });
    await using upstream = new TestUpstream();
    await pull(upstream, registry.host, ann);
    const repository = repositoryAt(registry.host);
    const wrong = { kind: 'basic', username: 'ann', password: 'wrong' } as const;
    for (const credential of [undefined, wrong]) {
      const refused = upstream.openBlob(repository, layer.digest, as(registry.host, credential));
      const error = await failsWith('upstream_unauthorized', refused);
      assert.equal(error.detail['challenge'], 'Basic realm="weir-test"');
    }
    const registries = new Map([[registry.host as RegistryHost, { credential: ann }]]);
    await using configured = new TestUpstream({ registries });
    await pull(configured, registry.host);
  });

  it('is pulled from behind a token server', async () => {
    await using tokens = await TokenServer.start({ users, allows: (user) => user === 'ann' });
    await using registry = await Registry.start({ storage: open.storage, tokenAuth: tokens.auth });
    await using upstream = new TestUpstream();
    await pull(upstream, registry.host, ann);
    assert.equal(tokens.issued, 1);
    const repository = repositoryAt(registry.host);
    const wrong = { kind: 'basic', username: 'ann', password: 'wrong' } as const;
    for (const credential of [undefined, bob, wrong]) {
      const refused = upstream.openBlob(repository, layer.digest, as(registry.host, credential));
      const error = await failsWith('upstream_unauthorized', refused);
      assert.match(String(error.detail['challenge']), /^Bearer realm="http.*:pull"$/);
    }
    const token = await tokens.issue('ann', 'repository:team/app:pull');
    await pull(upstream, registry.host, { kind: 'bearer', token });
    const other = await tokens.issue('ann', 'repository:team/other:pull');
    const credential = { kind: 'bearer', token: other } as const;
    await failsWith(
      'upstream_unauthorized',
      upstream.headManifest(repository, v1, as(registry.host, credential)),
    );
  });

  it('is pulled from without credentials if the token server gives anonymous tokens', async () => {
    await using tokens = await TokenServer.start({ allows: (_user, _name, action) => action === 'pull' });
    await using registry = await Registry.start({ storage: open.storage, tokenAuth: tokens.auth });
    await using upstream = new TestUpstream();
    await pull(upstream, registry.host);
    assert.equal(tokens.requests[0]?.headers['authorization'], undefined);
  });

  it('is pulled from with the refresh token of a docker config', async () => {
    const refreshTokens = { ann: 'refresh-me' };
    await using tokens = await TokenServer.start({ refreshTokens });
    await using registry = await Registry.start({ storage: open.storage, tokenAuth: tokens.auth });
    await using dir = await TempDir.create('docker-config');
    const auths = { [registry.host]: { identitytoken: 'refresh-me' } };
    await writeFile(dir.join('config.json'), JSON.stringify({ auths }));
    await using upstream = new TestUpstream({ dockerConfig: dir.join('config.json') });
    await pull(upstream, registry.host);
    assert.equal(tokens.requests[0]?.method, 'POST');
  });
});
