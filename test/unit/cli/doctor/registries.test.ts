import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import type { TLSSocket } from 'node:tls';
import type { Finding } from '../../../../src/cli/doctor/check.ts';
import { clock } from '../../../../src/cli/doctor/clock.ts';
import { registryChecks } from '../../../../src/cli/doctor/registries.ts';
import type { Config } from '../../../../src/config/settings.ts';
import { parseRegistryHost } from '../../../../src/oci/repository.ts';
import type { RegistryConfig } from '../../../../src/upstream/registry-config.ts';
import { CertificateAuthority, type Certificate } from '../../../support/certificates.ts';
import { HttpServer, type Handler } from '../../../support/http-server.ts';
import { TempDir } from '../../../support/temp.ts';
import { contextOf } from './fixture.ts';

const PASSWORD = 'correct-horse-battery';
const basic = (password: string) => `Basic ${Buffer.from(`ada:${password}`).toString('base64')}`;
const account = (password: string) => ({ credential: { kind: 'basic', username: 'ada', password } }) as const;

const open: Handler = (_, response) => void response.end('{}');
const guarded: Handler = ({ headers }, response) => {
  if (headers.authorization === basic(PASSWORD)) response.end('{}');
  else response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end();
};

async function check(
  registry: HttpServer,
  entry: RegistryConfig = {},
  config: Partial<Config> = {},
): Promise<Finding> {
  const host = parseRegistryHost(registry.host);
  const context = contextOf({ config: { ...config, registries: new Map([[host, entry]]) } });
  const [only] = registryChecks(context);
  assert.equal(only?.name, host);
  const finding = await only.run(context);
  assert.ok(!JSON.stringify(finding).includes(PASSWORD));
  return finding;
}

describe('weir doctor: a registry', () => {
  let dir: TempDir;
  let authority: CertificateAuthority;
  let tls: Certificate;
  before(async () => {
    dir = await TempDir.create('doctor-registry');
    authority = await CertificateAuthority.create(dir);
    tls = await authority.issue('127.0.0.1');
  });
  after(() => dir[Symbol.asyncDispose]());

  it('is right if it answers 200, or 401 to somebody without a credential', async () => {
    await using registry = await HttpServer.start(open);
    assert.deepEqual(await check(registry), { state: 'ok', found: `${registry.url} open` });
    registry.handler = guarded;
    assert.deepEqual(await check(registry), {
      state: 'ok',
      found: `${registry.url} wants a credential for what is private`,
    });
  });

  it('takes the configured credential, or refuses it', async () => {
    await using registry = await HttpServer.start(guarded);
    const right = await check(registry, account(PASSWORD));
    assert.deepEqual(right, { state: 'ok', found: `${registry.url} takes the configured credential` });
    const { state, found, cure } = await check(registry, account('wrong'));
    assert.deepEqual([state, found], ['wrong', `${registry.url} refuses the configured credential`]);
    assert.match(cure ?? '', /password-file/);
  });

  it('is asked with a token, and with the credential of a docker config', async () => {
    await using registry = await HttpServer.start(({ url = '', headers }, response) => {
      if (url.startsWith('/token')) {
        const isRight = headers.authorization === basic(PASSWORD) && !url.includes('scope');
        response.writeHead(isRight ? 200 : 401).end(isRight ? '{"token":"abc"}' : '');
      } else if (headers.authorization === 'Bearer abc') response.end('{}');
      else {
        const challenge = `Bearer realm="${registry.url}/token",service="test"`;
        response.writeHead(401, { 'www-authenticate': challenge }).end();
      }
    });
    const file = dir.join('config.json');
    const write = (password: string) =>
      writeFile(file, JSON.stringify({ auths: { [registry.host]: { auth: basic(password).slice(6) } } }));
    await write(PASSWORD);
    const docker = { 'upstream.docker-config': file };
    assert.match((await check(registry, {}, docker)).found, /takes the configured credential$/);
    await write('wrong');
    assert.match((await check(registry, {}, docker)).found, /refuses the configured credential$/);
  });

  it('with an unknown authority is wrong, and the cure names its setting', async () => {
    await using registry = await HttpServer.start(open, { tls });
    const { state, found, cure } = await check(registry, { plainHttp: false });
    assert.equal(state, 'wrong');
    assert.match(found, /^https:\/\/127\.0\.0\.1:\d+: unable to .*\(UNABLE_TO_/);
    assert.equal(cure, `if its CA is your own, set registries.${registry.host}.ca-file`);
    const trusting = await check(registry, { caFiles: [authority.file] });
    assert.deepEqual(trusting, { state: 'ok', found: `${registry.url} open` });
    const missing = await check(registry, { caFiles: [dir.join('none.pem')] });
    assert.deepEqual([missing.state, /cannot use the CA file/.test(missing.found)], ['wrong', true]);
  });

  it('that wants a client certificate is wrong without, and right with it', async () => {
    const guard: Handler = (request, response) =>
      void response.writeHead((request.socket as TLSSocket).authorized ? 200 : 400).end();
    await using registry = await HttpServer.start(guard, { tls, clientAuthority: authority.file });
    const entry = { caFiles: [authority.file] };
    const { state, cure } = await check(registry, entry);
    assert.deepEqual([state, /cert-file and key-file/.test(cure ?? '')], ['wrong', true]);
    const client = await authority.issue('node.test');
    const clientCertificate = { certFile: client.cert, keyFile: client.key };
    assert.equal((await check(registry, { ...entry, clientCertificate })).state, 'ok');
  });

  it('that cannot be reached or is none is wrong; a mirror of that kind is a warning', async () => {
    await using registry = await HttpServer.start((_, response) => void response.writeHead(404).end());
    assert.match((await check(registry)).found, /answers 404 to \/v2\//);
    registry.handler = open;
    const mirrors = [new URL('http://127.0.0.1:1')];
    const { state, found } = await check(registry, { mirrors });
    assert.deepEqual([state, /^http:\/\/127\.0\.0\.1:1: .*ECONNREFUSED/.test(found)], ['warning', true]);
    const gone = await check(registry, { endpoint: new URL('http://127.0.0.1:1') });
    assert.deepEqual([gone.state, /HTTPS_PROXY/.test(gone.cure ?? '')], ['wrong', true]);
  });

  it('is named by the caller if none is configured', async () => {
    const none = contextOf();
    const [only] = registryChecks(none);
    assert.equal((await only?.run(none))?.state, 'skipped');
    assert.deepEqual(
      registryChecks(contextOf({ registries: ['ghcr.io'] })).map(({ name }) => name),
      ['ghcr.io'],
    );
  });
});

describe('weir doctor: the clock', () => {
  async function against(date: string): Promise<Finding> {
    await using registry = await HttpServer.start(
      (_, response) => void response.writeHead(200, { date }).end(),
    );
    return await clock.run(contextOf({ registries: [registry.host] }));
  }
  const after = (seconds: number) => new Date(Date.now() + 1000 * seconds).toUTCString();

  it('is right within half a minute of a registry', async () => {
    assert.deepEqual((await against(after(0))).state, 'ok');
    assert.deepEqual((await against(after(20))).state, 'ok');
  });

  it('is a warning beyond, with its side', async () => {
    const behind = await against(after(3700));
    assert.deepEqual([behind.state, behind.found], ['warning', '1 h 1 m behind a registry']);
    const ahead = await against(after(-45));
    assert.equal(ahead.state, 'warning');
    assert.match(ahead.found, /^4\d s ahead of a registry$/);
    assert.match(ahead.cure ?? '', /set-ntp/);
  });

  it('is not known without a registry', async () => {
    assert.equal((await clock.run(contextOf())).state, 'skipped');
    assert.equal((await clock.run(contextOf({ registries: ['127.0.0.1:1'] }))).state, 'skipped');
  });
});
