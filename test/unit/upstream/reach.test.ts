import assert from 'node:assert/strict';
import { lookup as systemLookup, type LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { parseManifestReference } from '../../../src/oci/reference.ts';
import type { RegistryHost } from '../../../src/oci/repository.ts';
import { guardedLookup } from '../../../src/upstream/guarded-lookup.ts';
import type { Caller } from '../../../src/upstream/caller.ts';
import { Reaches } from '../../../src/upstream/reach.ts';
import type { RegistryConfig } from '../../../src/upstream/registry-config.ts';
import type { Reach } from '../../../src/upstream/address-guard.ts';
import { CertificateAuthority } from '../../support/certificates.ts';
import { HttpServer, type Handler } from '../../support/http-server.ts';
import { TempDir } from '../../support/temp.ts';
import { failsWith, repositoryAt, TestUpstream } from './fixture.ts';

const latest = parseManifestReference('latest');
const manifest: Handler = (_, response) => void response.end('{}');

function configured(of: Readonly<Record<string, RegistryConfig>>): ReadonlyMap<RegistryHost, RegistryConfig> {
  return new Map(Object.entries(of)) as unknown as ReadonlyMap<RegistryHost, RegistryConfig>;
}

/** A resolver that knows only these names. */
function resolver(names: Readonly<Record<string, readonly string[]>>): LookupFunction {
  return (hostname, options, callback) => {
    const found = (names[hostname] ?? []).map((address): LookupAddress => ({
      address,
      family: address.includes(':') ? 6 : 4,
    }));
    const [first] = found;
    if (first === undefined) callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), '', 0);
    else if (options.all === true) callback(null, found);
    else callback(null, first.address, first.family);
  };
}

/** The addresses that a connection may try. */
async function resolved(reach: Reach, ...addresses: readonly string[]): Promise<readonly string[]> {
  const lookup = guardedLookup(resolver({ 'a.test': addresses }), 'https://a.test', reach);
  const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>();
  lookup('a.test', { all: true }, (error, found) => {
    if (error !== null) reject(error);
    else resolve(typeof found === 'string' ? [found] : found.map(({ address }) => address));
  });
  return promise;
}

describe('upstream: reach', () => {
  const registries = configured({
    'own.test': {},
    'reached.test': { endpoint: new URL('http://127.0.0.1:5001'), mirrors: [new URL('http://[::1]:5002')] },
    'localhost:5003': {},
  });
  const reach = (
    url: string,
    from: string | undefined,
    endpoint: string,
    caller: Caller = 'configured',
    allowPrivate = true,
  ): Reach =>
    new Reaches(registries, allowPrivate).of({
      url: new URL(url),
      from: from === undefined ? undefined : new URL(from),
      endpoint: { origin: endpoint },
      caller,
    });

  it('is anywhere for targets that the operator named, as registry, endpoint or mirror', () => {
    const places = [
      'https://own.test/x',
      'http://own.test',
      'https://reached.test',
      'http://127.0.0.1:5001',
      'http://127.1:5001/y',
      'http://[::1]:5002',
      'https://localhost:5003',
    ];
    for (const place of places)
      for (const who of ['configured', 'anonymous'] as const)
        assert.equal(reach(place, 'https://evil.test', 'https://evil.test', who), 'anywhere', place);
    for (const other of [
      'https://own.test:444',
      'http://127.0.0.1:5003',
      'http://[::1]:5001',
      'https://x.own.test',
    ])
      assert.equal(reach(other, 'https://evil.test', 'https://evil.test'), 'network', other);
  });

  it('is "node" for targets of a caller of this node, not of a member', () => {
    const [own, evil] = ['http://127.0.0.1:5000', 'https://evil.test'];
    assert.equal(reach(`${own}/v2`, undefined, own), 'node');
    assert.equal(reach(`${own}/token`, `${own}/v2`, own), 'node');
    assert.equal(reach(`${own}/v2`, undefined, own, 'anonymous'), 'network');
    assert.equal(reach(`${evil}/v2`, undefined, evil, 'configured', false), 'node');
    assert.equal(reach(`${evil}/v2`, undefined, evil, 'anonymous', false), 'internet');
  });

  it('includes this machine for targets of a registry on it, not for a member', () => {
    const [local, evil] = ['http://127.0.0.1:5000', 'https://evil.test'];
    const token = 'http://localhost:5009/token';
    assert.equal(reach(token, local, local), 'node');
    assert.equal(reach(token, local, local, 'configured', false), 'internet and loopback');
    assert.equal(reach(token, local, local, 'anonymous'), 'network');
    assert.equal(reach(token, evil, evil), 'network');
    // The redirect must have come from this machine in every step.
    assert.equal(reach(token, evil, local), 'network');
    assert.equal(reach(token, 'http://127.0.0.1.nip.io', 'http://127.0.0.1.nip.io'), 'network');
  });

  it('is private networks, or only the Internet, for targets that registries name', () => {
    const [storage, evil] = ['https://storage.test', 'https://evil.test'];
    assert.equal(reach(storage, evil, evil), 'network');
    assert.equal(reach(storage, evil, evil, 'configured', false), 'internet');
  });
});

describe('upstream: guarded look-ups', () => {
  it('leave out addresses beyond reach, and fail if none is left', async () => {
    assert.deepEqual(await resolved('network', '127.0.0.1', '10.0.0.1', '::1', '8.8.8.8'), [
      '10.0.0.1',
      '8.8.8.8',
    ]);
    assert.deepEqual(await resolved('internet', '10.0.0.1', '8.8.8.8'), ['8.8.8.8']);
    assert.deepEqual(await resolved('node', 'fe80::1', '127.0.0.1'), ['127.0.0.1']);
    const error = await failsWith(
      'address_refused',
      resolved('network', '::ffff:127.0.0.1', '169.254.169.254'),
    );
    assert.match(error.message, /::ffff:127\.0\.0\.1 is loopback.*registries\."a\.test"/);
    const other = await failsWith('address_refused', resolved('internet', '10.0.0.1'));
    assert.match(other.message, /upstream\.allow-private/);
  });

  it('work for all options of the resolver, and pass its failures on', async () => {
    const lookup = guardedLookup(
      resolver({ 'a.test': ['127.0.0.1', '8.8.8.8'] }),
      'https://a.test',
      'network',
    );
    const { promise, resolve } = Promise.withResolvers<unknown>();
    lookup('a.test', {}, (...answer) => resolve(answer));
    assert.deepEqual(await promise, [null, '8.8.8.8', 4]);
    const none = Promise.withResolvers<unknown>();
    lookup('b.test', {}, (error) => none.resolve(error?.code));
    assert.equal(await none.promise, 'ENOTFOUND');
  });
});

describe('upstream: connections', () => {
  it('go to the checked address: each resolves the name once', async () => {
    await using dir = await TempDir.create('rebound');
    const authority = await CertificateAuthority.create(dir);
    await using inside = await HttpServer.start(manifest, { tls: await authority.issue('rebound.test') });
    // Only the first answer is within reach.
    let count = 0;
    const lookup: LookupFunction = (_hostname, options, callback) => {
      const address = ++count === 1 ? '127.0.0.1' : '169.254.169.254';
      if (options.all === true) callback(null, [{ address, family: 4 }]);
      else callback(null, address, 4);
    };
    await using upstream = new TestUpstream({ caFile: authority.file, lookup });
    const repository = repositoryAt(`rebound.test:${inside.host.split(':')[1]}`);
    inside.handler = (_, response) => void response.writeHead(200, { connection: 'close' }).end('{}');
    await upstream.getManifest(repository, latest);
    assert.deepEqual([count, inside.accepted], [1, 1]);
    await failsWith('address_refused', upstream.getManifest(repository, latest));
    assert.deepEqual([count, inside.accepted], [2, 1]);
  });

  it('opened for a caller do not serve targets of a registry', async () => {
    await using inside = await HttpServer.start(manifest);
    await using upstream = new TestUpstream();
    const repository = repositoryAt(inside.host);
    await upstream.getManifest(repository, latest);
    assert.equal(inside.connections, 1);
    const asked = upstream.getManifest(repository, latest, { caller: 'anonymous' });
    const error = await failsWith('address_refused', asked);
    assert.ok(error.message.includes(`registries."${inside.host}"`), error.message);
    assert.equal(inside.requests.length, 1);
  });

  it('go to configured targets, for members, too', async () => {
    await using inside = await HttpServer.start(manifest);
    const port = Number(inside.host.split(':')[1]);
    const host = `inside.test:${port}`;
    const registries = configured({ [inside.host]: {}, [host]: { plainHttp: true } });
    await using upstream = new TestUpstream({
      registries,
      lookup: resolver({ 'inside.test': ['127.0.0.1'] }),
    });
    for (const place of [inside.host, host])
      await upstream.getManifest(repositoryAt(place), latest, { caller: 'anonymous' });
    assert.equal(inside.requests.length, 2);
  });

  it('never go to a link-local address', async () => {
    await using upstream = new TestUpstream({ lookup: resolver({ 'meta.test': ['169.254.169.254'] }) });
    const hosts = ['169.254.169.254', '[fe80::1]:5000', '[fd00:ec2::254]', '100.100.100.200', 'meta.test'];
    for (const host of [...hosts, 'metadata.google.internal', '0.0.0.0:5000'])
      await failsWith('address_refused', upstream.getManifest(repositoryAt(host), latest));
  });

  it('are refused by name and by address if a proxy resolves names', async () => {
    await using proxy = await HttpServer.start(manifest);
    const environment = { http_proxy: proxy.url, https_proxy: proxy.url };
    await using upstream = new TestUpstream({ environment, lookup: systemLookup });
    const hosts = [
      'x.localhost',
      'localhost.',
      '[::ffff:127.0.0.1]',
      '169.254.169.254',
      'metadata.google.internal',
    ];
    for (const host of hosts) {
      const asked = upstream.getManifest(repositoryAt(host), latest, { caller: 'anonymous' });
      await failsWith('address_refused', asked);
    }
    assert.equal(proxy.requests.length, 0);
  });

  it('are refused by the resolved address if no proxy is used', async () => {
    await using proxy = await HttpServer.start(manifest);
    const environment = { https_proxy: proxy.url, no_proxy: 'direct.test' };
    const lookup = resolver({ 'direct.test': ['127.0.0.1'] });
    await using upstream = new TestUpstream({ environment, lookup });
    const asked = upstream.getManifest(repositoryAt('direct.test'), latest, { caller: 'anonymous' });
    await failsWith('address_refused', asked);
    assert.equal(proxy.accepted, 0);
  });
});
