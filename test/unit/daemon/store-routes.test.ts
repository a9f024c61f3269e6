/** Who may change the store through the admin address, and what is refused. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { defaultConfig } from '../../../src/config/load.ts';
import { AdminToken } from '../../../src/daemon/admin-token.ts';
import { LogLevel } from '../../../src/daemon/log-level.ts';
import { AdminServer } from '../../../src/daemon/admin-server.ts';
import { bearsToken, readAdminToken } from '../../../src/daemon/configured-token.ts';
import { createLogger } from '../../../src/daemon/logger.ts';
import { openStoreRoutes } from '../../../src/daemon/store-routes.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../../src/oci/manifest.ts';
import { parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';
import type { PinReport, StoreListing } from '../../../src/status/store-report.ts';
import { Catalog } from '../../../src/store/catalog.ts';
import { DataFolder } from '../../../src/store/data-folder.ts';
import { FsStore } from '../../../src/store/fs-store.ts';
import { KIB, MIB, systemClock } from '../../../src/util/clock.ts';
import { filesInside } from '../../support/byte-workers.ts';
import { seededBytes } from '../../support/bytes.ts';
import { addBlob } from '../../support/conformance.ts';
import { sendRaw, type RawAnswer } from '../../support/raw-http.ts';
import { TempDir } from '../../support/temp.ts';

const TOKEN = 'a1b2c3d4'.repeat(6);
const ABSENT = digestOf(Buffer.from('absent'));

interface Scene extends AsyncDisposable {
  readonly store: FsStore;
  readonly catalog: Catalog;
  readonly ask: (method: string, target: string, ...lines: readonly string[]) => Promise<RawAnswer>;
  /** The same with the token. */
  readonly change: (method: string, target: string, ...lines: readonly string[]) => Promise<RawAnswer>;
  /** The report that answers it. */
  readonly json: <T>(method: string, target: string) => Promise<T>;
  readonly tokenFile: string;
}

async function start(hasToken = true): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const temp = stack.use(await TempDir.create('store-routes'));
  const tokenFile = temp.join('token');
  await writeFile(tokenFile, `${TOKEN}\n`);
  const catalog = stack.use(Catalog.open(':memory:'));
  const store = stack.use(
    await FsStore.open({
      folder: new DataFolder(temp.join('data')),
      quota: 8 * MIB,
      pins: catalog.pins,
      partialMaxAge: 3_600_000,
      clock: systemClock,
      files: filesInside(),
    }),
  );
  const logger = await createLogger({ level: 'silent', format: 'json', isTerminal: false, color: false });
  const config = defaultConfig({ 'admin.token-file': hasToken ? tokenFile : '' });
  const admin = stack.use(
    await AdminServer.start({
      listen: [{ host: '127.0.0.1', port: 0 }],
      hosts: [],
      ready: () => true,
      metrics: async () => '',
      metricsType: 'text/plain',
      status: () => assert.fail(),
      peers: () => assert.fail(),
      pulls: () => assert.fail(),
      logLevel: new LogLevel({ level: 'info', warn: assert.fail }, 'info'),
      token: new AdminToken(undefined),
      imports: { answer: () => assert.fail() },
      store: await openStoreRoutes(config, { store, catalog, providers: [store], logger }),
      onProblem: (error) => {
        throw error;
      },
      onWarning: () => undefined,
    }),
  );
  const url = admin.addresses[0] ?? '';
  const ask: Scene['ask'] = (method, target, ...lines) =>
    sendRaw(url, `${method} ${target} HTTP/1.1`, `Host: ${new URL(url).host}`, ...lines);
  const change: Scene['change'] = (method, target, ...lines) =>
    ask(method, target, `Authorization: Bearer ${TOKEN}`, ...lines);
  const json = async <T>(method: string, target: string): Promise<T> => {
    const answer = await fetch(url + target, { method, headers: { authorization: `Bearer ${TOKEN}` } });
    assert.equal(answer.status, 200);
    return (await answer.json()) as T;
  };
  const owned = stack.move();
  return { store, catalog, ask, change, json, tokenFile, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const CHANGES: readonly (readonly [string, string])[] = [
  ['DELETE', `/v1/store/${ABSENT}`],
  ['PUT', `/v1/store/${ABSENT}/pin`],
  ['DELETE', `/v1/store/${ABSENT}/pin`],
  ['PUT', '/v1/store/pin?image=alpine'],
  ['DELETE', '/v1/store/pin?image=alpine'],
  ['POST', '/v1/store/gc?to_bytes=0'],
];

describe('/v1/store', () => {
  it('changes nothing without the token: none is set, none or another one is sent', async () => {
    await using without = await start(false);
    await addBlob(without.store, seededBytes(1000));
    for (const [method, target] of CHANGES) {
      const answer = await without.change(method, target);
      assert.equal(answer.status, 403, target);
      assert.match(answer.body, /need a token: set admin\.token-file/);
    }
    assert.equal(without.store.usage().blobs, 1);
    assert.equal((await without.ask('GET', '/v1/store')).status, 200);

    await using made = await start();
    await addBlob(made.store, seededBytes(1000));
    for (const [method, target] of CHANGES) {
      for (const lines of [
        [],
        [`Authorization: Bearer ${TOKEN}x`],
        [`Authorization: Bearer ${TOKEN.slice(1)}`],
        ['Authorization: Bearer '],
        [`Authorization: Basic ${TOKEN}`],
        [`Cookie: token=${TOKEN}`],
      ]) {
        const answer = await made.ask(method, target, ...lines);
        assert.equal(answer.status, 401, `${target} ${lines.join('')}`);
        assert.equal(answer.headers['www-authenticate'], 'Bearer');
        assert.ok(!answer.body.includes(TOKEN));
      }
    }
    assert.equal(made.store.usage().blobs, 1);
  });

  it('gives web pages nothing, also if they knew the token', async () => {
    await using made = await start();
    for (const [method, target] of [...CHANGES, ['GET', '/v1/store'], ['OPTIONS', '/v1/store/gc']] as const) {
      for (const line of ['Origin: http://attacker.example', 'Sec-Fetch-Site: same-site']) {
        const answer = await made.change(method, target, line);
        assert.equal(answer.status, 403, `${method} ${target}`);
        assert.match(answer.body, /web page/);
      }
    }
    assert.equal((await made.change('OPTIONS', '/v1/store/gc')).status, 405);
  });

  it('reads the token anew, and needs one that cannot be guessed', async () => {
    await using made = await start();
    const other = 'z9y8x7w6'.repeat(6);
    await writeFile(made.tokenFile, other);
    assert.equal((await made.change('POST', '/v1/store/gc?to_bytes=0')).status, 401);
    const answer = await made.ask('POST', '/v1/store/gc?to_bytes=0', `Authorization: bearer ${other}`);
    assert.equal(answer.status, 200);
    for (const weak of [
      '',
      'kurz',
      'a'.repeat(40),
      `${TOKEN} ${TOKEN}`,
      'é'.repeat(40),
      'ab1'.repeat(3000),
    ]) {
      await writeFile(made.tokenFile, weak);
      await assert.rejects(readAdminToken(made.tokenFile), { code: 'config_invalid' }, weak);
      const refused = await made.change('POST', '/v1/store/gc?to_bytes=0');
      assert.equal(refused.status, 503);
      assert.ok(weak === '' || !refused.body.includes(weak));
    }
    await assert.rejects(readAdminToken('/nonexistent'), /cannot read admin\.token-file/);
    assert.ok(bearsToken(`Bearer ${TOKEN}`, TOKEN));
    assert.ok(!bearsToken(undefined, TOKEN));
  });

  it('refuses what it does not understand', async () => {
    await using made = await start();
    for (const [method, target, status] of [
      ['GET', '/v1/store/', 404],
      ['GET', '/v1/storehouse', 404],
      ['GET', `/v1/store/${ABSENT}`, 405],
      ['GET', '/v1/store/gc', 405],
      ['DELETE', '/v1/store', 405],
      ['PUT', '/v1/store/sha256:00/pin', 404],
      ['DELETE', `/v1/store/${ABSENT}/pin/x`, 404],
      ['GET', '/v1/store?sort=colour', 400],
      ['GET', '/v1/store?limit=20001', 400],
      ['GET', '/v1/store?limit=1&limit=2', 400],
      ['GET', '/v1/store?more=1', 400],
      ['DELETE', `/v1/store/${ABSENT}?force=yes`, 400],
      ['DELETE', `/v1/store/${ABSENT}`, 404],
      ['DELETE', `/v1/store/${ABSENT.replace(':', '%3A')}`, 404],
      ['POST', '/v1/store/gc', 400],
      ['POST', '/v1/store/gc?to_bytes=1&unused_seconds=1', 400],
      ['POST', '/v1/store/gc?to_bytes=-1', 400],
      ['POST', '/v1/store/gc?unused_seconds=1e3', 400],
      ['PUT', '/v1/store/pin', 400],
      ['PUT', '/v1/store/pin?image=A%20B', 400],
      ['PUT', '/v1/store/pin?image=alpine', 404],
    ] as const) {
      const answer = await made.change(method, target);
      assert.equal(answer.status, status, `${method} ${target}: ${answer.body}`);
      assert.match(answer.headers['content-type'] ?? '', /^text\/plain/);
    }
  });

  it('pins the image that a tag named last: its manifests and blobs that are here', async () => {
    await using made = await start();
    const { store, catalog } = made;
    const repository = parseRepository(parseRegistryHost('registry.test'), 'team/app');
    const addJson = (value: object): Promise<Digest> => addBlob(store, Buffer.from(JSON.stringify(value)));
    const describe = (digest: Digest, size: number): object => ({ mediaType: 'a/b', digest, size });
    const layer = seededBytes(300 * KIB);
    const [config, shared] = [await addBlob(store, Buffer.from('{}')), await addBlob(store, layer)];
    const layers = [shared, shared, ABSENT].map((each) => describe(each, 300 * KIB));
    const manifest = await addJson({
      mediaType: MEDIA_TYPES.ociManifest,
      config: describe(config, 2),
      layers,
    });
    const manifests = [describe(manifest, 500), describe(digestOf(Buffer.from('another platform')), 500)];
    const index = await addJson({ mediaType: MEDIA_TYPES.ociIndex, manifests });
    const stranger = await addBlob(store, seededBytes(10));
    const record = { digest: index, mediaType: MEDIA_TYPES.ociIndex, size: undefined, at: 2 };
    catalog.setTag(repository, 'v1', '*/*', record);
    catalog.addServed(repository, shared, 1);
    catalog.addListed(repository, 'manifest', [{ digest: manifest, size: 500 }], 1);

    const target = `/v1/store/pin?image=${encodeURIComponent('registry.test/team/app:v1')}`;
    const report = await made.json<PinReport>('PUT', target);
    assert.deepEqual([...report.digests].toSorted(), [index, manifest, config, shared].toSorted());
    assert.deepEqual([report.absent, report.store.pins], [1, 4]);
    const listing = await made.json<StoreListing>('GET', '/v1/store?sort=digest');
    const of = (digest: Digest): StoreListing['blobs'][number] | undefined =>
      listing.blobs.find((blob) => blob.digest === digest);
    assert.equal(of(stranger)?.pinned, false);
    assert.deepEqual(
      [of(index)?.kind, of(manifest)?.kind, of(config)?.kind],
      ['manifest', 'manifest', undefined],
    );
    assert.deepEqual(of(shared)?.repositories, ['registry.test/team/app']);

    const again = await made.change('PUT', `/v1/store/${stranger}/pin`);
    assert.equal(again.status, 200);
    const refused = await made.change('DELETE', `/v1/store/${stranger}`);
    assert.deepEqual([refused.status, /is pinned/.test(refused.body)], [409, true]);
    const unpinned = await made.json<PinReport>('DELETE', target);
    assert.equal(unpinned.store.pins, 1);
    assert.equal((await made.change('DELETE', target)).status, 404);
  });
});
