/** Access to cached bytes: the rules of access mode `verify`, one by one, through the mirror. */
import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { seededBytes } from '../../support/bytes.ts';
import { eventually } from '../../support/eventually.ts';
import { MirrorFixture, TestRegistry, type MirrorFixtureOptions } from '../../support/mirror-fixture.ts';

const basic = (user: string): string => `Basic ${Buffer.from(`${user}:secret`).toString('base64')}`;
const ALICE = basic('alice');
const MALLORY = basic('mallory');

/** A mirror that has a private blob in its store, pulled by Alice. */
async function withPrivateBlob(options: MirrorFixtureOptions = {}) {
  const fixture = await MirrorFixture.start(options);
  const bytes = seededBytes(50_000);
  const image = fixture.registry.addImage('private/app', 'v1', bytes);
  fixture.registry.repository('private/app').authorization = ALICE;
  const ask = async (path: string, authorization?: string): Promise<number> => {
    const response = await fixture.get(
      path,
      authorization === undefined ? {} : { headers: { authorization } },
    );
    await response.arrayBuffer();
    return response.status;
  };
  const blob = `private/app/blobs/${image.layer}`;
  const manifest = `private/app/manifests/${image.manifest}`;
  for (const path of [blob, manifest, 'private/app/manifests/v1']) assert.equal(await ask(path, ALICE), 200);
  fixture.registry.server.requests.length = 0;
  return {
    fixture,
    image,
    bytes,
    ask,
    blob,
    manifest,
    [Symbol.asyncDispose]: () => fixture[Symbol.asyncDispose](),
  };
}

const reset = (request: IncomingMessage, _response: ServerResponse): boolean => {
  request.socket.resetAndDestroy();
  return true;
};

describe('access mode verify', () => {
  it('hands out cached bytes to a caller that upstream accepted, without asking again', async () => {
    await using scene = await withPrivateBlob();
    assert.equal(await scene.ask(scene.blob, ALICE), 200);
    assert.equal(await scene.ask(scene.manifest, ALICE), 200);
    assert.equal(scene.fixture.registry.server.requests.length, 0);
  });

  it('refuses a stolen digest without a credential, and with a wrong one', async () => {
    await using scene = await withPrivateBlob();
    for (const path of [scene.blob, scene.manifest, 'private/app/manifests/v1']) {
      assert.equal(await scene.ask(path), 401, path);
      assert.equal(await scene.ask(path, MALLORY), 401, path);
      assert.equal(await scene.ask(path, ALICE), 200, path);
    }
  });

  it('refuses HEAD as it refuses GET', async () => {
    await using scene = await withPrivateBlob();
    assert.equal((await scene.fixture.get(scene.blob, { method: 'HEAD' })).status, 401);
  });

  it('refuses a stolen digest in the name of a public repository of the same registry', async () => {
    await using scene = await withPrivateBlob();
    scene.fixture.registry.addImage('public/app', 'v1', Buffer.from('other'));
    assert.equal(await scene.ask('public/app/manifests/v1'), 200);
    assert.equal(await scene.ask(`public/app/blobs/${scene.image.layer}`), 404);
    assert.equal(await scene.ask(`public/app/manifests/${scene.image.manifest}`), 404);
  });

  it('hands out a blob that upstream says is in the other repository, too', async () => {
    await using scene = await withPrivateBlob();
    scene.fixture.registry.addBlob('public/app', scene.bytes);
    scene.fixture.registry.server.requests.length = 0;
    assert.equal(await scene.ask(`public/app/blobs/${scene.image.layer}`), 200);
    assert.deepEqual(
      scene.fixture.registry.server.requests.map(({ method }) => method),
      ['HEAD'],
      'bytes came from the store',
    );
  });

  it('does not believe a registry that only claims to hold a digest: the registry must deliver it', async () => {
    await using scene = await withPrivateBlob();
    await using evil = await TestRegistry.start();
    evil.intercept = (request, response) => {
      if (request.method !== 'HEAD') return false;
      response.writeHead(200, {
        'Content-Length': scene.bytes.length,
        'Docker-Content-Digest': scene.image.layer,
      });
      response.end();
      return true;
    };
    const stolen = `${scene.fixture.url}/v2/evil/app/blobs/${scene.image.layer}?ns=${evil.host}`;
    const response = await fetch(stolen);
    assert.equal(response.status, 404);
    evil.addBlob('evil/app', scene.bytes);
    const proven = await fetch(stolen);
    assert.equal(proven.status, 200, 'a registry that has the bytes may have them handed out');
    assert.ok(Buffer.from(await proven.arrayBuffer()).equals(scene.bytes));
  });

  it('asks upstream again if the grant is too old, once for many requests', async () => {
    await using scene = await withPrivateBlob({ accessTtl: 0 });
    const answers = await Promise.all([1, 2, 3, 4].map(() => scene.ask(scene.blob, ALICE)));
    assert.deepEqual(answers, [200, 200, 200, 200]);
    assert.ok(scene.fixture.registry.server.requests.length <= 2);
    scene.fixture.registry.repository('private/app').authorization = 'Basic changed';
    assert.equal(await scene.ask(scene.blob, ALICE), 401, 'the password was changed');
  });

  it('honours grants of the last day while upstream cannot be reached', async () => {
    await using scene = await withPrivateBlob({ accessTtl: 0 });
    scene.fixture.registry.intercept = reset;
    assert.equal(await scene.ask(scene.blob, ALICE), 200);
    assert.equal(await scene.ask('private/app/manifests/v1', ALICE), 200);
    assert.equal(await scene.ask(scene.blob, MALLORY), 404);
    assert.equal(await scene.ask('private/app/manifests/v1', MALLORY), 404);
  });

  it('relays the last challenge to callers without a credential while upstream cannot be reached', async () => {
    await using scene = await withPrivateBlob({ accessTtl: 0 });
    assert.equal(await scene.ask(scene.blob), 401);
    scene.fixture.registry.intercept = reset;
    const refused = await scene.fixture.get(scene.blob);
    assert.equal(refused.status, 401);
    assert.equal(refused.headers.get('www-authenticate'), 'Basic realm="test"');
  });

  it('honours no grant older than a day while upstream cannot be reached', async () => {
    await using scene = await withPrivateBlob({ accessTtl: 0, offlineTtl: 0 });
    scene.fixture.registry.intercept = reset;
    // A moment later it is older than 0 ms.
    await eventually(async () => assert.equal(await scene.ask(scene.blob, ALICE), 404));
  });

  it('keeps no credential on the disk', async () => {
    await using scene = await withPrivateBlob();
    const { execFile } = await import('node:child_process');
    const { promisify } = await import('node:util');
    const folder = scene.fixture.folder;
    for (const secret of ['secret', 'alice', ALICE.slice('Basic '.length)]) {
      const found = await promisify(execFile)('grep', ['-rlF', secret, folder]).catch(
        (error: unknown) => error,
      );
      assert.equal((found as { code?: number }).code, 1, `${secret} stands in a file`);
    }
  });
});

describe('access mode open', () => {
  it('hands out cached bytes to everybody', async () => {
    await using scene = await withPrivateBlob({ mode: 'open' });
    assert.equal(await scene.ask(scene.blob), 200);
    assert.equal(await scene.ask(scene.manifest, MALLORY), 200);
    assert.equal(scene.fixture.registry.server.requests.length, 0);
  });
});
