import assert from 'node:assert/strict';
import { seededBytes } from '../../support/bytes.ts';
import { eventually } from '../../support/eventually.ts';
import { MirrorFixture } from '../../support/mirror-fixture.ts';

describe('tags', () => {
  it('are asked for once by many callers at the same time, and not again for a few seconds', async () => {
    await using fixture = await MirrorFixture.start({ tagTtl: 60_000 });
    fixture.registry.addImage('a/b', 'v1', seededBytes(100));
    const ask = async (): Promise<number> =>
      (await fixture.get('a/b/manifests/v1', { method: 'HEAD' })).status;
    assert.deepEqual(await Promise.all([1, 2, 3, 4, 5].map(ask)), [200, 200, 200, 200, 200]);
    assert.equal(await ask(), 200);
    assert.equal(fixture.registry.count(/manifests/), 1);
  });

  it('are asked for separately for each caller', async () => {
    await using fixture = await MirrorFixture.start({ tagTtl: 60_000 });
    fixture.registry.addImage('a/b', 'v1', seededBytes(100));
    fixture.registry.repository('a/b').authorization = 'Bearer good';
    const ask = async (token: string): Promise<number> =>
      (await fixture.get('a/b/manifests/v1', { headers: { authorization: `Bearer ${token}` } })).status;
    assert.equal(await ask('good'), 200);
    assert.equal(await ask('bad'), 401);
  });

  it('move when upstream moves them', async () => {
    await using fixture = await MirrorFixture.start({ tagTtl: 0 });
    const first = fixture.registry.addImage('a/b', 'v1', seededBytes(100, 'old'));
    const digest = async (): Promise<string | null> =>
      (await fixture.get('a/b/manifests/v1', { method: 'HEAD' })).headers.get('docker-content-digest');
    assert.equal(await digest(), first.manifest);
    const second = fixture.registry.addImage('a/b', 'v1', seededBytes(100, 'new'));
    // The answer is remembered for a moment.
    await eventually(async () => assert.equal(await digest(), second.manifest));
  });

  it('keep their last digest while upstream cannot be reached, marked as stale', async () => {
    await using fixture = await MirrorFixture.start();
    const { manifest, bytes } = fixture.registry.addImage('a/b', 'v1', seededBytes(100));
    const fresh = await fixture.get('a/b/manifests/v1');
    assert.equal(fresh.headers.get('weir-stale'), null);
    await fresh.arrayBuffer();
    fixture.registry.intercept = (request) => {
      request.socket.resetAndDestroy();
      return true;
    };
    const stale = await eventually(async () => {
      const response = await fixture.get('a/b/manifests/v1');
      assert.notEqual(response.headers.get('weir-stale'), null);
      return response;
    });
    assert.equal(stale.status, 200);
    assert.equal(stale.headers.get('docker-content-digest'), manifest);
    assert.match(stale.headers.get('weir-stale') ?? '', /v1/);
    assert.ok(Buffer.from(await stale.arrayBuffer()).equals(bytes));
    assert.equal((await fixture.get('a/b/manifests/never-seen')).status, 404);
  });

  it('keep their last digest for another order of Accept, too, and for another runtime that can read it', async () => {
    await using fixture = await MirrorFixture.start();
    fixture.registry.addImage('a/b', 'v1', seededBytes(100));
    const [oci, docker] = ['application/vnd.oci.image.manifest.v1+json', 'application/vnd.docker.x+json'];
    const head = (accept: string): Promise<Response> =>
      fixture.get('a/b/manifests/v1', { method: 'HEAD', headers: { accept } });
    const ask = async (accept: string): Promise<number> => (await head(accept)).status;
    const first = `${oci}, ${docker};q=0.5`;
    assert.equal(await ask(first), 200);
    fixture.registry.intercept = (request) => {
      request.socket.resetAndDestroy();
      return true;
    };
    await eventually(async () => assert.notEqual((await head(first)).headers.get('weir-stale'), null));
    assert.equal(await ask(`${docker},${oci}`), 200, 'Docker sends them in another order each time');
    assert.equal(await ask(`application/vnd.oci.image.index.v1+json, ${oci}`), 200);
    assert.equal(await ask(docker), 404, 'a runtime that cannot read it goes upstream');
  });

  it('are gone once upstream says so, even while it cannot be reached later', async () => {
    await using fixture = await MirrorFixture.start();
    fixture.registry.addImage('a/b', 'v1', seededBytes(100));
    const ask = async (): Promise<number> =>
      (await fixture.get('a/b/manifests/v1', { method: 'HEAD' })).status;
    assert.equal(await ask(), 200);
    fixture.registry.repository('a/b').tags.clear();
    await eventually(async () => assert.equal(await ask(), 404));
    fixture.registry.intercept = (request) => {
      request.socket.resetAndDestroy();
      return true;
    };
    assert.equal(await ask(), 404);
  });

  it('are found if HEAD names no digest', async () => {
    await using fixture = await MirrorFixture.start();
    const { manifest } = fixture.registry.addImage('a/b', 'v1', seededBytes(100));
    fixture.registry.intercept = (request, response) => {
      if (request.method !== 'HEAD') return false;
      response.writeHead(200, { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' }).end();
      return true;
    };
    const response = await fixture.get('a/b/manifests/v1', { method: 'HEAD' });
    assert.equal(response.headers.get('docker-content-digest'), manifest);
  });
});
