/** Registries that want a client's certificate, and certificates that the runtimes have in their folders. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { readCertsFolders } from '../../../src/upstream/certs-folders.ts';
import { remoteCallerOf } from '../../../src/upstream/caller.ts';
import type { RegistryConfig } from '../../../src/upstream/registry-config.ts';
import { parseManifestReference } from '../../../src/oci/reference.ts';
import { parseRegistryHost } from '../../../src/oci/repository.ts';
import { CertificateAuthority, type Certificate } from '../../support/certificates.ts';
import type { TLSSocket } from 'node:tls';
import { HttpServer, type Handler } from '../../support/http-server.ts';
import { Registry } from '../../support/registry.ts';
import { requires } from '../../support/requires.ts';
import { TempDir } from '../../support/temp.ts';
import { collect, failsWith, makeBlob, repositoryAt, TestUpstream } from './fixture.ts';

const TYPE = 'application/vnd.oci.image.manifest.v1+json';
const latest = parseManifestReference('latest');
const blob = makeBlob(300_000);

describe('upstream: client certificates', () => {
  let dir: TempDir;
  let authority: CertificateAuthority;
  let client: Certificate;
  let registry: HttpServer;
  let storage: HttpServer;

  before(async () => {
    dir = await TempDir.create('upstream-mtls');
    authority = await CertificateAuthority.create(dir);
    client = await authority.issue('node.test');
    const tls = await authority.issue('127.0.0.1');
    // As nginx answers a client without a certificate.
    const guarded =
      (handler: Handler): Handler =>
      (request, response) =>
        (request.socket as TLSSocket).authorized
          ? handler(request, response)
          : void response.writeHead(400).end();
    const options = { tls, clientAuthority: authority.file };
    storage = await HttpServer.start(
      guarded((_request, response) => void response.end(blob.bytes)),
      options,
    );
    registry = await HttpServer.start(
      guarded((request, response) => {
        if (request.url?.includes('/redirected/'))
          response.writeHead(307, { location: `${storage.url}/x` }).end();
        else if (request.url?.includes('/blobs/')) response.end(blob.bytes);
        else response.writeHead(200, { 'content-type': TYPE }).end('{"schemaVersion":2}');
      }),
      options,
    );
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
    await storage[Symbol.asyncDispose]();
    await dir[Symbol.asyncDispose]();
  });

  const named = (config: RegistryConfig): Map<ReturnType<typeof parseRegistryHost>, RegistryConfig> =>
    new Map([[parseRegistryHost(registry.host), { caFiles: [authority.file], ...config }]]);
  const shown = (): RegistryConfig => ({ clientCertificate: { certFile: client.cert, keyFile: client.key } });

  it('are shown for manifests and blobs', async () => {
    await using upstream = new TestUpstream({ registries: named(shown()) });
    await upstream.getManifest(repositoryAt(registry.host), latest);
    const stream = await upstream.openBlob(repositoryAt(registry.host), blob.digest);
    assert.ok((await collect(stream)).equals(blob.bytes));
  });

  it('are shown for nobody else: not for another member, and not to the place of a redirect', async () => {
    await using upstream = new TestUpstream({ registries: named(shown()) });
    const repository = repositoryAt(registry.host);
    const other = { caller: remoteCallerOf(repository.registry, undefined) };
    await failsWith('upstream_status', upstream.getManifest(repository, latest, other));
    await failsWith(
      'upstream_status',
      upstream.openBlob(repositoryAt(registry.host, 'team/redirected'), blob.digest),
    );
    assert.equal(storage.requests.length, 1);
    assert.equal(upstream.speaksFor(repository), true);
  });

  it('are found in the folders of the runtimes, by the name of the registry', async () => {
    const [host, port] = registry.host.split(':');
    const folder = dir.join(`certs.d/${host}_${port}_`);
    await mkdir(folder, { recursive: true });
    await copyFile(authority.file, `${folder}/ca.crt`);
    await copyFile(client.cert, `${folder}/client.cert`);
    await copyFile(client.key, `${folder}/client.key`);
    await mkdir(dir.join('certs.d/broken.corp'));
    await writeFile(dir.join('certs.d/broken.corp/ca.crt'), 'no certificate');
    await copyFile(client.cert, dir.join('certs.d/broken.corp/client.cert'));
    await copyFile(dir.join('ca.key'), dir.join('certs.d/broken.corp/client.key'));
    const { certificates, problems } = readCertsFolders([dir.join('missing'), dir.join('certs.d')]);
    assert.deepEqual([...certificates.keys()], [registry.host]);
    assert.equal(problems.length, 2);
    assert.match(
      problems.join('\n'),
      /broken\.corp\/ca\.crt cannot be used .*\n.*broken\.corp\/client\.key cannot be used/,
    );
    await using upstream = new TestUpstream({ certificates });
    await upstream.getManifest(repositoryAt(registry.host), latest);
    assert.deepEqual([...readCertsFolders('none').certificates], []);
  });

  it('are passed over in those folders where they are no PEM, and do not stop the node', async () => {
    const folder = dir.join('der.d/der.corp');
    await mkdir(folder, { recursive: true });
    await writeFile(`${folder}/ca.crt`, new X509Certificate(await readFile(authority.file)).raw);
    const { certificates, problems } = readCertsFolders([dir.join('der.d')]);
    assert.match(problems.join('\n'), /der\.corp\/ca\.crt cannot be used for its registry/);
    await using upstream = new TestUpstream({ certificates });
    assert.equal(upstream.speaksFor(repositoryAt('der.corp')), false);
  });
});

requires('docker-registry')('upstream: a docker-registry that wants a certificate', () => {
  it('is not asked again: the error says what to set, and one warning tells', async () => {
    await using dir = await TempDir.create('upstream-clientcas');
    const authority = await CertificateAuthority.create(dir);
    const [tls, client] = [await authority.issue('127.0.0.1'), await authority.issue('node.test')];
    await using registry = await Registry.start({ tls, clientAuthority: authority.file });
    const host = parseRegistryHost(registry.host);
    const repository = repositoryAt(registry.host);
    const warnings: string[] = [];
    await using without = new TestUpstream({
      registries: new Map([[host, { caFiles: [authority.file] }]]),
      warn: (message) => warnings.push(message),
    });
    for (let i = 0; i < 2; i++) {
      const error = await failsWith('upstream_tls', without.getManifest(repository, latest));
      assert.match(error.message, /^https:\/\/127\.0\.0\.1:\d+: ssl\/tls alert bad certificate \(ERR_SSL/);
      assert.match(error.message, /registries\.127\.0\.0\.1:\d+\.cert-file and key-file$/);
    }
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? '', /^the pulls of 127\.0\.0\.1:\d+ go past Weir: /);
    const clientCertificate = { certFile: client.cert, keyFile: client.key };
    await using shown = new TestUpstream({
      registries: new Map([[host, { caFiles: [authority.file], clientCertificate }]]),
    });
    await failsWith('manifest_unknown', shown.getManifest(repository, latest));
  });
});
