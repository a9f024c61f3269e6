/**
 * Web pages must not use the mirror or the admin address: not under a name that leads here (DNS rebinding), not across
 * sites, and not with a registry's script as if it were the mirror's own.
 */
import assert from 'node:assert/strict';
import { KIB } from '../../src/util/clock.ts';
import { ATTACK_NEEDS, AttackScene, PUBLIC } from '../support/attack-scene.ts';
import { request } from '../support/client.ts';
import { shared } from '../support/fixture.ts';
import { sendRaw, type RawAnswer } from '../support/raw-http.ts';
import { requires } from '../support/requires.ts';

const NAME = 'weir.example';
const SCRIPT = '<html><script>alert(document.domain)</script></html>';

requires(...ATTACK_NEEDS)('web pages', () => {
  const lab = shared(async (stack) => {
    const node = (): { settings: Record<string, string> } => ({
      settings: { 'mirror.hosts': NAME, 'admin.hosts': NAME },
    });
    const scene = stack.use(await AttackScene.start({ layer: 100 * KIB, node }));
    const { openImage: image, registry } = scene;
    // A public image is in the store.
    for (const path of [`manifests/${image.digest}`, ...image.blobs.map(({ digest }) => `blobs/${digest}`)]) {
      assert.equal((await request(scene.node().urlOf(registry.host, `${PUBLIC}/${path}`))).status, 200, path);
    }
    return { scene };
  });

  beforeEach(() => {
    lab().scene.evil.handler = (_, response) => void response.writeHead(404).end();
  });

  /** Targets at the mirror that give something away. */
  const targets = (): readonly string[] => {
    const { registry, openImage } = lab().scene;
    const [blob] = openImage.blobs;
    const paths = ['tags/list', 'manifests/v1', `manifests/${openImage.digest}`, `blobs/${blob?.digest}`];
    return ['/v2/', ...paths.map((path) => `/v2/${PUBLIC}/${path}?ns=${registry.host}`)];
  };

  const atMirror = (target: string, ...lines: readonly string[]): Promise<RawAnswer> =>
    sendRaw(lab().scene.node().url, `GET ${target} HTTP/1.1`, ...lines);
  const atAdmin = (target: string, ...lines: readonly string[]): Promise<RawAnswer> =>
    sendRaw(lab().scene.node().adminUrl, `GET ${target} HTTP/1.1`, ...lines);
  const ADMIN = ['/v1/status', '/v1/peers', '/v1/store', '/metrics', '/healthz', '/readyz'];

  const assertRefused = (answer: RawAnswer, reason: RegExp, what: string): void => {
    assert.equal(answer.status, 403, what);
    assert.match(answer.body, reason, what);
    assert.ok(answer.body.length < 500, what);
    for (const name of Object.keys(answer.headers))
      assert.doesNotMatch(name, /^(access-control|etag|docker-content)/);
  };

  it('read nothing under a name that leads here (DNS rebinding)', async () => {
    const { scene } = lab();
    const [mirrorPort, adminPort] = [scene.node().url, scene.node().adminUrl].map((url) => new URL(url).port);
    const names = [
      'attacker.example',
      'localhost.attacker.example',
      '127.0.0.1.nip.io',
      '192.0.2.1',
      '[2001:db8::1]',
    ];
    for (const name of names) {
      for (const target of targets()) {
        const answer = await atMirror(target, `Host: ${name}:${mirrorPort}`);
        assertRefused(answer, /"weir":"host_not_allowed"/, `${name} ${target}`);
        assert.match(answer.body, /mirror\.hosts/);
        assert.equal(answer.headers['content-type'], 'application/json');
      }
      for (const target of ADMIN) {
        const answer = await atAdmin(target, `Host: ${name}:${adminPort}`);
        assertRefused(answer, /add it to admin\.hosts/, `${name} ${target}`);
      }
    }
  });

  it('get nothing across sites, and no CORS permission', async () => {
    const lines = [
      ...['cross-site', 'same-site'].map((site) => `Sec-Fetch-Site: ${site}`),
      ...['http://attacker.example', 'null', 'http://localhost'].map((origin) => `Origin: ${origin}`),
    ];
    for (const line of lines) {
      for (const target of targets()) {
        assertRefused(
          await atMirror(target, 'Host: localhost', line),
          /"weir":"cross_site"/,
          `${line} ${target}`,
        );
      }
      for (const target of ADMIN) {
        assertRefused(await atAdmin(target, 'Host: localhost', line), /web page/, `${line} ${target}`);
      }
    }
    const preflight = [
      'Host: localhost',
      'Origin: http://attacker.example',
      'Access-Control-Request-Method: GET',
      'Access-Control-Request-Headers: authorization',
      'Access-Control-Request-Private-Network: true',
    ];
    const { url, adminUrl } = lab().scene.node();
    for (const at of [url, adminUrl]) {
      const answer = await sendRaw(at, 'OPTIONS /v2/ HTTP/1.1', ...preflight);
      assert.equal(answer.status, 405);
      for (const name of Object.keys(answer.headers)) assert.doesNotMatch(name, /^access-control/);
    }
  });

  it("never get a registry's script as the mirror's own", async () => {
    const { scene } = lab();
    const digest = scene.openImage.digest;
    const lists = ['tags/list', `referrers/${digest}`].map(
      (path) => `/v2/evil/x/${path}?ns=${scene.evil.host}`,
    );
    for (const type of [
      'text/html',
      'image/svg+xml',
      'application/xhtml+xml',
      'text/javascript',
      undefined,
    ]) {
      for (const status of [200, 400, 404, 405]) {
        scene.evil.handler = (_, response) => {
          response.writeHead(status, {
            ...(type === undefined ? {} : { 'Content-Type': type }),
            'Docker-Note': 'x'.repeat(1000),
            'OCI-Filters-Applied': 'artifactType',
            Link: '<http://evil.example/x.js>; rel="preload"; as="script"',
            'Set-Cookie': 'a=b',
            'Access-Control-Allow-Origin': '*',
            'Content-Security-Policy': 'default-src *',
            Refresh: '0; url=http://evil.example/',
          });
          response.end(SCRIPT);
        };
        for (const target of lists) {
          const what = `${type} ${status} ${target}`;
          const { headers } = await atMirror(target, 'Host: localhost');
          assert.match(
            headers['content-type'] ?? '',
            /^application\/(json|vnd\.oci\.image\.index\.v1\+json)$/,
            what,
          );
          assert.match(headers['link'] ?? '</v2/>; rel="next"', /^<\/v2\/[^>]*>; rel="next"$/, what);
          for (const name of ['docker-note', 'set-cookie', 'access-control-allow-origin', 'refresh']) {
            assert.equal(headers[name], undefined, `${what}: ${name}`);
          }
        }
      }
    }
  });

  it('cannot use any answer: each is sandboxed, has its own type, and is for its own origin', async () => {
    const { scene } = lab();
    const { url, adminUrl } = scene.node();
    const blob = targets().at(-1) ?? '';
    scene.evil.handler = (_, response) => {
      response
        .writeHead(401, { 'WWW-Authenticate': 'Basic realm="x"', 'Content-Type': 'text/html' })
        .end(SCRIPT);
    };
    const own = 'Host: localhost';
    const answers: readonly (readonly [number, string, string, ...(readonly string[])])[] = [
      [200, url, 'GET /v2/ HTTP/1.1', own],
      ...targets().map((target) => [200, url, `GET ${target} HTTP/1.1`, own] as const),
      [200, url, `HEAD ${blob} HTTP/1.1`, own],
      [206, url, `GET ${blob} HTTP/1.1`, own, 'Range: bytes=1-'],
      [304, url, `GET ${blob} HTTP/1.1`, own, 'If-None-Match: *'],
      [416, url, `GET ${blob} HTTP/1.1`, own, 'Range: bytes=9999999-'],
      [200, url, `GET ${blob} HTTP/1.1`, own, 'Expect: the-unexpected'],
      [400, url, 'GET /v2/x/blobs/sha256:1 HTTP/1.1', own],
      [400, url, 'GET /v2/ HTTP/1.1'],
      [400, url, 'GET /v2/ HTTP/9.9', own],
      [401, url, `GET /v2/x/tags/list?ns=${scene.evil.host} HTTP/1.1`, own],
      [403, url, 'GET /v2/ HTTP/1.1', 'Host: attacker.example'],
      [404, url, 'GET / HTTP/1.1', own],
      [405, url, 'POST /v2/ HTTP/1.1', own],
      [414, url, `GET /v2/${'x'.repeat(5000)} HTTP/1.1`, own],
      [431, url, `GET /v2/${'x'.repeat(40_000)} HTTP/1.1`, own],
      ...ADMIN.map((target) => [200, adminUrl, `GET ${target} HTTP/1.1`, own] as const),
      [400, adminUrl, 'GET /metrics HTTP/1.1'],
      [403, adminUrl, 'GET /metrics HTTP/1.1', 'Host: attacker.example'],
      [404, adminUrl, 'GET / HTTP/1.1', own],
      [405, adminUrl, 'POST /metrics HTTP/1.1', own],
      [431, adminUrl, `GET /${'x'.repeat(40_000)} HTTP/1.1`, own],
    ];
    for (const [status, at, ...lines] of answers) {
      const what = `${status} ${lines.join(', ').slice(0, 200)}`;
      const answer = await sendRaw(at, ...lines);
      assert.equal(answer.status, status, what);
      assert.equal(answer.headers['x-content-type-options'], 'nosniff', what);
      assert.match(answer.headers['content-security-policy'] ?? '', /sandbox; default-src 'none'/, what);
      assert.equal(answer.headers['cross-origin-resource-policy'], 'same-origin', what);
      const isBlob = lines[0].includes('/blobs/') && status < 300;
      assert.equal(answer.headers['content-disposition'], isBlob ? 'attachment' : undefined, what);
    }
  });

  it('are told from programs, which still work: by address, localhost, configured names, or HTTP/1.0', async () => {
    const { url, adminUrl } = lab().scene.node();
    const [target = ''] = targets();
    const hosts = (at: string): readonly string[] => {
      const { port } = new URL(at);
      const names = ['127.0.0.1', 'localhost', 'LocalHost', '[::1]', NAME, NAME.toUpperCase()];
      return names.flatMap((name) => [name, `${name}:${port}`, `${name}:12345`]);
    };
    for (const host of hosts(url)) {
      assert.equal((await atMirror(target, `Host: ${host}`)).status, 200, host);
      assert.equal((await atAdmin('/v1/status', `Host: ${host}`)).status, 200, host);
    }
    for (const line of [
      'Sec-Fetch-Site: none',
      'Sec-Fetch-Site: same-origin',
      'Sec-Fetch-Mode: cors',
      'Referer: x',
    ]) {
      assert.equal((await atMirror(target, 'Host: localhost', line)).status, 200, line);
    }
    assert.equal((await sendRaw(url, `GET ${target} HTTP/1.0`)).status, 200);
    assert.equal((await sendRaw(adminUrl, 'GET /healthz HTTP/1.0')).status, 200);
  });
});
