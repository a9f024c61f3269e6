/** `/v1/imports`: who may change something there. */
import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { AdminImports } from '../../../src/daemon/admin-imports.ts';
import { AdminToken } from '../../../src/daemon/admin-token.ts';
import { LogLevel } from '../../../src/daemon/log-level.ts';
import { AdminServer } from '../../../src/daemon/admin-server.ts';
import type { Importer } from '../../../src/pull/importer.ts';
import { DataFolder } from '../../../src/store/data-folder.ts';
import type { ImportRecord } from '../../../src/store/import-records.ts';
import { AdminClient } from '../../../src/status/admin-client.ts';
import { IMPORT_TOKEN } from '../../../src/status/import-report.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseImageReference, type ImageReference } from '../../../src/oci/reference.ts';
import { isWeirError, WeirError } from '../../../src/util/errors.ts';
import { statusOf } from '../status/fixture.ts';
import { TempDir } from '../../support/temp.ts';

function recordOf({ repository, reference }: ImageReference): ImportRecord {
  assert.ok(reference.kind === 'tag');
  const blob = { digest: digestOf(Buffer.from('manifest')), size: 8 };
  return { repository, tag: reference.tag, ...blob, mediaType: 'a/b', at: 0, blobs: [blob] };
}

/** Reads the archive, and takes it for an image. */
class FakeImporter implements Pick<Importer, 'all' | 'check' | 'isTrusted' | 'remove' | 'run'> {
  isTrusted = true;
  all: readonly ImportRecord[] = [];
  failure: Error | undefined;
  bytes = 0;

  check(): void {
    if (!this.isTrusted) throw new WeirError('import_refused', 'access.trust-imported is "no"');
  }

  async run(
    source: AsyncIterable<Uint8Array>,
    name: ImageReference | undefined,
  ): Promise<readonly ImportRecord[]> {
    for await (const part of source) {
      if (this.failure !== undefined) throw this.failure;
      this.bytes += part.length;
    }
    this.all = [recordOf(name ?? parseImageReference('app:v1'))];
    return this.all;
  }

  remove(image: ImageReference): Promise<ImportRecord> {
    const record = recordOf(image);
    this.all = [];
    return Promise.resolve(record);
  }
}

interface Scene extends AsyncDisposable {
  readonly importer: FakeImporter;
  readonly client: AdminClient;
  readonly url: string;
  readonly token: string;
  readonly tokenFile: string;
}

async function scene(): Promise<Scene> {
  const dir = await TempDir.create('admin');
  const importer = new FakeImporter();
  const imports = await AdminImports.open(
    importer as unknown as Importer,
    new DataFolder(dir.path),
    assert.fail,
  );
  const admin = await AdminServer.start({
    listen: [{ host: '127.0.0.1', port: 0 }],
    hosts: [],
    ready: () => true,
    metrics: async () => '',
    metricsType: 'text/plain',
    status: () => statusOf(),
    peers: () => ({ peers: [] }),
    imports,
    pulls: () => assert.fail(),
    logLevel: new LogLevel({ level: 'info', warn: assert.fail }, 'info'),
    token: new AdminToken(undefined),
    store: { answer: () => assert.fail() },
    onProblem: (error) => assert.fail(String(error)),
    onWarning: assert.fail,
  });
  const [url = ''] = admin.addresses;
  const client = new AdminClient(new URL(url));
  const tokenFile = dir.join(IMPORT_TOKEN);
  return {
    importer,
    client,
    url,
    tokenFile,
    token: (await readFile(tokenFile, 'utf8')).trim(),
    [Symbol.asyncDispose]: async () => {
      await client[Symbol.asyncDispose]();
      await admin[Symbol.asyncDispose]();
      await dir[Symbol.asyncDispose]();
    },
  };
}

const archive = (size = 1000): Readable => Readable.from([Buffer.alloc(size), Buffer.alloc(size)]);

describe('/v1/imports', () => {
  it('takes an archive from whoever shows the token, which is the node’s own user’s', async () => {
    await using site = await scene();
    const { client, token, importer } = site;
    assert.equal((await stat(site.tokenFile)).mode & 0o777, 0o600);
    assert.deepEqual(await client.imports(), { trusted: true, imports: [] });
    const { imports } = await client.import(archive(), 'registry.test/app:v1', { token });
    assert.equal(imports[0]?.name, 'registry.test/app:v1');
    assert.equal(importer.bytes, 2000);
    assert.equal((await client.imports()).imports[0]?.size, 8);
    const removed = await client.removeImport('registry.test/app:v1', { token });
    assert.equal(removed.imports[0]?.name, 'registry.test/app:v1');
    assert.deepEqual((await client.imports()).imports, []);
  });

  it('refuses everybody else, and reads nothing of the archive', async () => {
    await using site = await scene();
    const { client, importer, token } = site;
    const isRefused = (error: unknown): boolean =>
      isWeirError(error, 'import_refused') && error.message.includes('token');
    for (const wrong of [
      '',
      'x',
      token.slice(1),
      token.replace(/./, (digit) => (digit === '0' ? '1' : '0')),
    ]) {
      await assert.rejects(client.import(archive(), undefined, { token: wrong }), isRefused);
      await assert.rejects(client.removeImport('app:v1', { token: wrong }), isRefused);
    }
    assert.equal(importer.bytes, 0);
    const page = await fetch(`${site.url}/v1/imports`, {
      method: 'POST',
      body: 'x',
      headers: { origin: 'https://evil.example', authorization: `Bearer ${token}` },
    });
    assert.equal(page.status, 403);
    assert.equal(importer.bytes, 0);
  });

  it('says what is wrong with the archive, the name or the room', async () => {
    await using site = await scene();
    const { client, importer, token } = site;
    for (const code of ['archive_invalid', 'store_full'] as const) {
      importer.failure = new WeirError(code, `because of ${code}`);
      await assert.rejects(client.import(archive(5_000_000), undefined, { token }), (error: unknown) => {
        assert.ok(isWeirError(error, code), String(error));
        return error.message === `because of ${code}`;
      });
    }
    importer.isTrusted = false;
    await assert.rejects(client.import(archive(), undefined, { token }), /trust-imported is "no"/);
    const named = await fetch(`${site.url}/v1/imports?name=UPPER`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${token}` },
    });
    assert.equal(named.status, 400);
    assert.match(await named.text(), /not a repository name/);
  });

  it('lets an archive end that its own reader cuts off', async () => {
    await using site = await scene();
    const failing = Readable.from(
      (async function* () {
        yield await Promise.resolve(Buffer.alloc(100));
        throw new Error('the disk is broken');
      })(),
    );
    await assert.rejects(site.client.import(failing, undefined, { token: site.token }), /the disk is broken/);
    assert.equal((await site.client.imports()).imports.length, 0);
  });

  it('changes nothing in any other way', async () => {
    await using site = await scene();
    const put = await fetch(`${site.url}/v1/imports`, { method: 'PUT', body: 'x' });
    assert.equal(put.status, 405);
    assert.equal(put.headers.get('allow'), 'GET, HEAD, POST, DELETE');
    for (const path of ['/v1/status', '/metrics'])
      assert.equal((await fetch(site.url + path, { method: 'POST', body: 'x' })).status, 405);
  });
});
