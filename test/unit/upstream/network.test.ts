import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import type { IncomingMessage } from 'node:http';
import { parseManifestReference } from '../../../src/oci/reference.ts';
import type { RegistryHost } from '../../../src/oci/repository.ts';
import { readTrusted } from '../../../src/upstream/trust.ts';
import { CertificateAuthority } from '../../support/certificates.ts';
import { HttpServer, type Handler } from '../../support/http-server.ts';
import { freePort } from '../../support/ports.ts';
import { TempDir } from '../../support/temp.ts';
import { failsWith, repositoryAt, TestUpstream } from './fixture.ts';

const latest = parseManifestReference('latest');
const ok: Handler = (_, response) => void response.end('{}');

/** A proxy that accepts CONNECT for any host and leads to `target`; it forwards plain requests there, too. */
async function startProxy(target: HttpServer): Promise<HttpServer & { readonly tunnels: string[] }> {
  const proxy = await HttpServer.start(ok);
  const tunnels: string[] = [];
  proxy.onConnect((request: IncomingMessage, socket: Socket) => {
    tunnels.push(request.url ?? '');
    const [, port = ''] = target.host.split(':');
    const there = connect(Number(port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      there.pipe(socket).pipe(there);
    });
    there.on('error', () => socket.destroy());
    socket.on('error', () => there.destroy());
  });
  return Object.assign(proxy, { tunnels });
}

describe('upstream: network', () => {
  it('fails for a name that does not exist, and for a closed port', async () => {
    await using upstream = new TestUpstream();
    const repository = repositoryAt('nonexistent.invalid');
    await failsWith('upstream_unreachable', upstream.getManifest(repository, latest));
    const port = await freePort();
    const nobody = repositoryAt(`127.0.0.1:${port}`);
    await failsWith('upstream_unreachable', upstream.getManifest(nobody, latest));
  });

  it('fails at once for 2 s after an endpoint could not be reached, then tries again', async () => {
    const port = await freePort();
    let now = 0;
    let requests = 0;
    const clock = { now: Date.now, monotonic: () => now, sleep: async () => undefined, random: () => 0 };
    const observer = { request: () => void requests++, bytes: () => undefined, retry: () => undefined };
    await using upstream = new TestUpstream({ clock, observer });
    const repository = repositoryAt(`127.0.0.1:${port}`);
    await failsWith('upstream_unreachable', upstream.getManifest(repository, latest));
    assert.equal(requests, 3);
    await failsWith('upstream_unreachable', upstream.getManifest(repository, latest));
    assert.equal(requests, 3, 'the second call asked again');
    now = 2000;
    await failsWith('upstream_unreachable', upstream.getManifest(repository, latest));
    assert.equal(requests, 6);
  });

  it('remembers a dead endpoint even if the caller gave up between attempts', async () => {
    const port = await freePort();
    const caller = new AbortController();
    let requests = 0;
    const observer = { request: () => void requests++, bytes: () => undefined, retry: () => caller.abort() };
    await using upstream = new TestUpstream({ observer });
    const repository = repositoryAt(`127.0.0.1:${port}`);
    await failsWith('aborted', upstream.getManifest(repository, latest, { signal: caller.signal }));
    await failsWith('upstream_unreachable', upstream.getManifest(repository, latest));
    assert.equal(requests, 1);
  });

  it('ends a connection attempt that gets no answer', async () => {
    const server = createServer();
    server.listen({ port: 0, host: '127.0.0.1', backlog: 1 });
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const registries = new Map([[`127.0.0.1:${port}` as RegistryHost, { plainHttp: false }]]);
    // TCP connects, but the TLS handshake never ends.
    await using upstream = new TestUpstream({ registries, connectTimeout: 100 });
    const repository = repositoryAt(`127.0.0.1:${port}`);
    await failsWith('upstream_timeout', upstream.getManifest(repository, latest));
    server.close();
  });

  it('fails with the signal’s own reason, and with a time-out for a deadline', async () => {
    const deadline = new AbortController();
    // The deadline passes once the request has come: on a busy machine that takes longer than any fixed time.
    const passed = new DOMException('the deadline has passed', 'TimeoutError');
    await using registry = await HttpServer.start(() => deadline.abort(passed));
    await using upstream = new TestUpstream();
    const repository = repositoryAt(registry.host);
    const { signal } = deadline;
    await failsWith('upstream_timeout', upstream.getManifest(repository, latest, { signal }));
    await failsWith('aborted', upstream.getManifest(repository, latest, { signal: AbortSignal.abort() }));
    assert.equal(registry.requests.length, 1);
  });

  it('lets manifests pass while blobs hold all their connections', async () => {
    await using registry = await HttpServer.start((request, response) => {
      if (request.url?.includes('manifests')) response.end('{}');
      else response.writeHead(200, { 'content-length': 10 }).flushHeaders();
    });
    await using upstream = new TestUpstream({ maxConnections: 2 });
    const repository = repositoryAt(registry.host);
    const digest = `sha256:${'a'.repeat(64)}` as Parameters<typeof upstream.openBlob>[1];
    await upstream.openBlob(repository, digest);
    const caller = new AbortController();
    const second = upstream.openBlob(repository, digest, { signal: caller.signal });
    await upstream.getManifest(repository, latest);
    caller.abort();
    await failsWith('aborted', second);
    assert.equal(registry.connections, 2);
  });
});

describe('upstream: TLS', () => {
  let dir: TempDir;
  let authority: CertificateAuthority;
  let registry: HttpServer;

  before(async () => {
    dir = await TempDir.create('upstream-tls');
    authority = await CertificateAuthority.create(dir);
    registry = await HttpServer.start(ok, { tls: await authority.issue('127.0.0.1', 'registry.test') });
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
    await dir[Symbol.asyncDispose]();
  });

  const ask = async (options: ConstructorParameters<typeof TestUpstream>[0]): Promise<void> => {
    await using upstream = new TestUpstream(options);
    await upstream.getManifest(repositoryAt(registry.host), latest);
  };
  const host = (): RegistryHost => registry.host as RegistryHost;

  it('refuses a certificate of an unknown authority', async () => {
    const registries = new Map([[host(), { plainHttp: false }]]);
    const error = await failsWith('upstream_tls', ask({ registries }));
    assert.match(String(error.detail['reason']), /CERT|VERIFY|ISSUER/);
    assert.match(error.message, /registries\..*ca-file$/);
  });

  it('trusts the extra CA file, that of the registry, or anyone where told so', async () => {
    for (const options of [
      { registries: new Map([[host(), { plainHttp: false }]]), caFile: authority.file },
      { registries: new Map([[host(), { caFiles: [authority.file] }]]) },
      { registries: new Map([[host(), { skipVerify: true }]]) },
    ]) {
      await assert.doesNotReject(ask(options));
    }
  });

  it('reports an unusable CA file at the start', async () => {
    const empty = dir.join('empty.pem');
    await writeFile(empty, 'nothing');
    for (const file of [empty, dir.join('missing.pem')]) {
      assert.throws(() => readTrusted(file, []), { code: 'config_invalid' });
      assert.throws(
        () => readTrusted(undefined, [{ caFiles: [file], client: undefined, skipVerify: false }]),
        /CA file/,
      );
    }
  });

  it('uses the proxy of the environment, with TLS end to end', async () => {
    await using proxy = await startProxy(registry);
    await using upstream = new TestUpstream({
      caFile: authority.file,
      environment: { HTTPS_PROXY: proxy.url, NO_PROXY: 'direct.invalid' },
    });
    await upstream.getManifest(repositoryAt('registry.test'), latest);
    assert.deepEqual(proxy.tunnels, ['registry.test:443']);
    const direct = upstream.getManifest(repositoryAt('direct.invalid'), latest);
    await failsWith('upstream_unreachable', direct);
    assert.equal(proxy.tunnels.length, 1);
  });

  it('sends plain requests to the proxy in absolute form', async () => {
    await using proxy = await startProxy(registry);
    const registries = new Map([['plain.test' as RegistryHost, { plainHttp: true }]]);
    await using upstream = new TestUpstream({ registries, environment: { http_proxy: proxy.url } });
    await upstream.getManifest(repositoryAt('plain.test'), latest);
    assert.equal(proxy.requests[0]?.url, 'http://plain.test/v2/team/app/manifests/latest');
  });

  it('fails if the proxy refuses, or never answers', async () => {
    await using proxy = await HttpServer.start(ok);
    const environment = { https_proxy: proxy.url };
    proxy.onConnect((_, socket) => void socket.end('HTTP/1.1 403 Forbidden\r\n\r\n'));
    await using refused = new TestUpstream({ environment });
    await failsWith('upstream_unreachable', refused.getManifest(repositoryAt('registry.test'), latest));
    proxy.onConnect(() => undefined);
    await using silent = new TestUpstream({ environment, headerTimeout: 100 });
    await failsWith('upstream_timeout', silent.getManifest(repositoryAt('registry.test'), latest));
  });
});
