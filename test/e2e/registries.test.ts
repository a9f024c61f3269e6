/** Every kind of registry works as upstream, and no caller gets content that the registry would refuse it. */
import assert from 'node:assert/strict';
import { KIB, MIB } from '../../src/util/clock.ts';
import { assertIntact, assertNoBypass, assertSentOnce } from '../support/assertions.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { basic, bearer, request } from '../support/client.ts';
import { Containerd } from '../support/containerd.ts';
import { DockerHub } from '../support/docker-hub.ts';
import { shared } from '../support/fixture.ts';
import { buildImage, largestBlob, type TestImage } from '../support/images.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { TokenServer } from '../support/token-server.ts';
import { WeirNode } from '../support/weir.ts';

const LAYERS = [100 * KIB, 34 * MIB];
const ALICE = { username: 'alice', password: 'wonderland' };
const MALLORY = { username: 'mallory', password: 'curious' };
const USERS = { [ALICE.username]: ALICE.password, [MALLORY.username]: MALLORY.password };

const PRIVATE = 'private/app';
const PUBLIC = 'public/app';

/** A registry that anybody may push to, and two images in it. The guarded ones serve them from its folder. */
const stocked = async (stack: AsyncDisposableStack, seed: string) => {
  const pantry = stack.use(await Registry.start());
  const secret = await buildImage({ seed: `${seed}-private`, layers: LAYERS });
  const open = await buildImage({ seed: `${seed}-public` });
  await push(pantry.url, PRIVATE, 'v1', secret);
  await push(pantry.url, PUBLIC, 'v1', open);
  return { pantry, secret, open };
};

requires(
  'root',
  'docker-registry',
  'containerd',
  'ctr',
  'openssl',
)('registries: open and with TLS', () => {
  const lab = shared(async (stack) => {
    const stock = await stocked(stack, 'tls');
    const dir = stack.use(await TempDir.create('tls'));
    const authority = await CertificateAuthority.create(dir);
    const tls = await authority.issue('localhost', '127.0.0.1');
    const secure = stack.use(await Registry.start({ storage: stock.pantry.storage, tls }));
    return { ...stock, secure, authority };
  });

  it('containerd pulls from a public registry over plain HTTP', async () => {
    const { pantry, open } = lab();
    await using weir = await WeirNode.start();
    await using containerd = await Containerd.start();
    await containerd.writeHosts({ registry: pantry.host, server: pantry.url, mirrors: [weir.url] });
    pantry.accessLog.clear();
    await containerd.cri.pullOk(`${pantry.host}/${PUBLIC}:v1`);
    await assertIntact(containerd, open);
    assertNoBypass(pantry.accessLog);
  });

  for (const [title, options] of [
    ['upstream.ca-file', (file: string) => ({ settings: { 'upstream.ca-file': file } })],
    [
      'registries.<host>.ca-file',
      (file: string, host: string) => ({ registries: { [host]: { 'ca-file': file } } }),
    ],
    [
      'registries.<host>.skip-verify',
      (_: string, host: string) => ({ registries: { [host]: { 'skip-verify': true } } }),
    ],
  ] as const) {
    it(`containerd pulls from a registry with a private CA, by ${title}`, async () => {
      const { secure, secret, authority } = lab();
      // By default, Weir asks a registry on this machine over plain HTTP.
      const registries = { [secure.host]: { 'plain-http': false } };
      const given = { registries, ...options(authority.file, secure.host) };
      await using weir = await WeirNode.start(given);
      await using containerd = await Containerd.start();
      const hosts = { registry: secure.host, server: secure.url, mirrors: [weir.url], ca: authority.file };
      await containerd.writeHosts(hosts);
      secure.accessLog.clear();
      await containerd.cri.pullOk(`${secure.host}/${PRIVATE}:v1`);
      await assertIntact(containerd, secret);
      assertNoBypass(secure.accessLog);
      assertSentOnce(secure.accessLog, secret);
    });
  }

  it('a pull from a registry whose CA Weir does not know goes past the mirror and succeeds', async () => {
    const { secure, secret, authority } = lab();
    await using weir = await WeirNode.start({ registries: { [secure.host]: { 'plain-http': false } } });
    await using containerd = await Containerd.start();
    const hosts = { registry: secure.host, server: secure.url, mirrors: [weir.url], ca: authority.file };
    await containerd.writeHosts(hosts);
    await containerd.cri.pullOk(`${secure.host}/${PRIVATE}:v1`);
    await assertIntact(containerd, secret);
  });
});

requires(
  'root',
  'docker-registry',
  'containerd',
  'ctr',
  'nsenter',
  'unshare',
)('registries: Docker Hub', () => {
  it('containerd pulls docker.io/library/… through the mirror', async () => {
    await using pantry = await Registry.start();
    const image = await buildImage({ seed: 'hub', layers: LAYERS });
    await push(pantry.url, 'library/hub', 'v1', image);
    await using hub = await DockerHub.start(pantry.storage);
    const within = hub.namespace.enter;
    await using weir = await WeirNode.start({ within, env: { SSL_CERT_FILE: hub.caFile } });
    await using containerd = await Containerd.start({ within });
    const server = 'https://registry-1.docker.io';
    await containerd.writeHosts({ registry: 'docker.io', server, mirrors: [weir.url], ca: hub.caFile });
    await containerd.cri.pullOk('docker.io/library/hub:v1');
    await assertIntact(containerd, image);
    assertNoBypass(hub.registry.accessLog);
    assertSentOnce(hub.registry.accessLog, image);
    assert.ok((await weir.metrics()).sum('weir_upstream_bytes_total', { registry: 'docker.io' }) > 34 * MIB);
  });
});

requires(
  'root',
  'docker-registry',
  'htpasswd',
  'containerd',
  'ctr',
)('registries: htpasswd', () => {
  const lab = shared(async (stack) => {
    const stock = await stocked(stack, 'htpasswd');
    const guarded = stack.use(await Registry.start({ storage: stock.pantry.storage, users: USERS }));
    const weir = stack.use(await WeirNode.start());
    return { ...stock, guarded, weir };
  });

  it('CRI pulls through the mirror with the right credentials, and is refused otherwise', async () => {
    const { guarded, weir, secret } = lab();
    await using containerd = await Containerd.start();
    await containerd.writeHosts({ registry: guarded.host, server: guarded.url, mirrors: [weir.url] });
    const name = `${guarded.host}/${PRIVATE}:v1`;
    assert.notEqual((await containerd.cri.pull(name)).error, undefined);
    const auth = { username: 'alice', password: 'wrong' };
    assert.notEqual((await containerd.cri.pull(name, { auth })).error, undefined);
    guarded.accessLog.clear();
    await containerd.cri.pullOk(name, { auth: ALICE });
    await assertIntact(containerd, secret);
    const bytes = guarded.accessLog.matching('/blobs/', 'GET').filter(({ status }) => status === 200);
    assert.ok(
      bytes.every(({ userAgent }) => userAgent.startsWith('weir/')),
      JSON.stringify(bytes),
    );

    // The content is in the store now, and still only for users that the registry knows.
    await using stranger = await Containerd.start();
    await stranger.writeHosts({ registry: guarded.host, server: guarded.url, mirrors: [weir.url] });
    assert.notEqual((await stranger.cri.pull(name)).error, undefined);
    guarded.accessLog.clear();
    await stranger.cri.pullOk(name, { auth: MALLORY }); // htpasswd lets every user read everything
    assert.equal(guarded.accessLog.bytes(`/blobs/${largestBlob(secret).digest}`), 0);
  });

  it('a stolen digest is refused without valid credentials, and the challenge is relayed', async () => {
    const { guarded, weir, secret } = lab();
    await warm(weir, guarded.host, secret, basic(ALICE.username, ALICE.password));
    for (const path of privatePaths(secret)) {
      const url = weir.urlOf(guarded.host, path);
      for (const headers of [{}, basic('alice', 'wrong'), basic('nobody', 'x'), bearer('forged')]) {
        const answer = await request(url, { headers });
        assert.equal(answer.status, 401, `${path} with ${JSON.stringify(headers)}`);
        assert.equal(answer.headers.get('www-authenticate'), 'Basic realm="weir-test"');
        assert.ok(answer.body.length < KIB);
      }
      const entitled = await request(url, { headers: basic(ALICE.username, ALICE.password) });
      assert.equal(entitled.status, 200);
    }
  });

  it('a stolen digest is refused under the name of another, public registry', async () => {
    const { guarded, pantry, weir, secret } = lab();
    await warm(weir, guarded.host, secret, basic(ALICE.username, ALICE.password));
    await using other = await Registry.start();
    await push(other.url, PUBLIC, 'v1', await buildImage({ seed: 'elsewhere' }));
    const digest = largestBlob(secret).digest;
    assert.equal((await request(weir.urlOf(other.host, `${PUBLIC}/blobs/${digest}`))).status, 404);
    assert.equal((await request(weir.urlOf(pantry.host, `${PUBLIC}/blobs/${digest}`))).status, 404);
  });

  it('access.mode open serves a stolen digest', async () => {
    const { guarded, secret } = lab();
    await using weir = await WeirNode.start({ settings: { 'access.mode': 'open' } });
    await warm(weir, guarded.host, secret, basic(ALICE.username, ALICE.password));
    // Weir still asks upstream for a tag, as the caller. It serves content with a digest to anybody.
    for (const path of privatePaths(secret).filter((each) => each.includes('sha256:'))) {
      assert.equal((await request(weir.urlOf(guarded.host, path))).status, 200, path);
    }
  });
});

requires(
  'root',
  'docker-registry',
  'openssl',
  'containerd',
  'ctr',
)('registries: token server', () => {
  const lab = shared(async (stack) => {
    const stock = await stocked(stack, 'token');
    const tokens = stack.use(
      await TokenServer.start({
        users: USERS,
        allows: (user, repository, action) =>
          action === 'pull' && (repository === PUBLIC || (repository === PRIVATE && user === ALICE.username)),
      }),
    );
    const { storage } = stock.pantry;
    const guarded = stack.use(await Registry.start({ storage, tokenAuth: tokens.auth }));
    const weir = stack.use(await WeirNode.start());
    const tokenFor = async (user: string | undefined, repository: string): Promise<Record<string, string>> =>
      bearer(await tokens.issue(user, `repository:${repository}:pull`));
    return { ...stock, guarded, tokens, tokenFor, weir };
  });

  it('CRI pulls a public image without credentials, and a private one with the right ones only', async () => {
    const { guarded, weir, secret, open } = lab();
    await using containerd = await Containerd.start();
    await containerd.writeHosts({ registry: guarded.host, server: guarded.url, mirrors: [weir.url] });
    await containerd.cri.pullOk(`${guarded.host}/${PUBLIC}:v1`);
    await assertIntact(containerd, open);
    const name = `${guarded.host}/${PRIVATE}:v1`;
    assert.notEqual((await containerd.cri.pull(name)).error, undefined);
    assert.notEqual((await containerd.cri.pull(name, { auth: MALLORY })).error, undefined);
    guarded.accessLog.clear();
    await containerd.cri.pullOk(name, { auth: ALICE });
    await assertIntact(containerd, secret);
    const bytes = guarded.accessLog.matching('/blobs/', 'GET').filter(({ status }) => status === 200);
    assert.ok(
      bytes.every(({ userAgent }) => userAgent.startsWith('weir/')),
      JSON.stringify(bytes),
    );

    await using stranger = await Containerd.start();
    await stranger.writeHosts({ registry: guarded.host, server: guarded.url, mirrors: [weir.url] });
    assert.notEqual((await stranger.cri.pull(name)).error, undefined);
    assert.notEqual((await stranger.cri.pull(name, { auth: MALLORY })).error, undefined);
  });

  it('a stolen digest is refused without a token, and the challenge is relayed', async () => {
    const { guarded, weir, secret, tokens, tokenFor } = lab();
    await warm(weir, guarded.host, secret, await tokenFor(ALICE.username, PRIVATE));
    for (const path of privatePaths(secret)) {
      const answer = await request(weir.urlOf(guarded.host, path));
      assert.equal(answer.status, 401, path);
      const challenge = answer.headers.get('www-authenticate') ?? '';
      assert.ok(challenge.startsWith('Bearer '), challenge);
      assert.ok(challenge.includes(`realm="${tokens.auth.realm}"`), challenge);
      assert.ok(challenge.includes(`scope="repository:${PRIVATE}:pull"`), challenge);
    }
  });

  it("another user's token, and a token for another repository, do not open a private image", async () => {
    const { guarded, weir, secret, tokenFor } = lab();
    await warm(weir, guarded.host, secret, await tokenFor(ALICE.username, PRIVATE));
    const refused = {
      "another user's token for it": await tokenFor(MALLORY.username, PRIVATE),
      "another user's token for a public one": await tokenFor(MALLORY.username, PUBLIC),
      'an anonymous token for a public one': await tokenFor(undefined, PUBLIC),
      'the right user, the wrong repository': await tokenFor(ALICE.username, PUBLIC),
      "another user's password": basic(MALLORY.username, MALLORY.password),
      'a forged token': bearer('forged'),
    };
    for (const path of privatePaths(secret)) {
      for (const [what, headers] of Object.entries(refused)) {
        const answer = await request(weir.urlOf(guarded.host, path), { headers });
        assert.ok([401, 403].includes(answer.status), `${path} with ${what}: ${answer.status}`);
        assert.ok(answer.body.length < KIB);
      }
      const headers = await tokenFor(ALICE.username, PRIVATE);
      assert.equal((await request(weir.urlOf(guarded.host, path), { headers })).status, 200);
    }
  });

  it('a stolen digest is refused under the name of a public repository of the same registry', async () => {
    const { guarded, weir, secret, open, tokenFor } = lab();
    await warm(weir, guarded.host, secret, await tokenFor(ALICE.username, PRIVATE));
    const headers = await tokenFor(undefined, PUBLIC);
    await warm(weir, guarded.host, open, headers, PUBLIC);
    for (const credential of [{}, headers, await tokenFor(MALLORY.username, PUBLIC)]) {
      for (const { digest } of secret.blobs) {
        const url = weir.urlOf(guarded.host, `${PUBLIC}/blobs/${digest}`);
        assert.equal((await request(url, { headers: credential })).status, 404);
      }
      const url = weir.urlOf(guarded.host, `${PUBLIC}/manifests/${secret.digest}`);
      assert.equal((await request(url, { headers: credential })).status, 404);
    }
  });

  it('with the registry gone, a caller that had access keeps it, and no other caller gets it', async () => {
    const { guarded, weir, secret, tokenFor } = lab();
    const alice = await tokenFor(ALICE.username, PRIVATE);
    await warm(weir, guarded.host, secret, alice);
    await guarded.stop();
    try {
      for (const path of privatePaths(secret)) {
        const url = weir.urlOf(guarded.host, path);
        assert.equal((await request(url, { headers: alice })).status, 200);
        assert.notEqual((await request(url)).status, 200);
        const headers = await tokenFor(MALLORY.username, PRIVATE);
        assert.notEqual((await request(url, { headers })).status, 200);
      }
    } finally {
      await guarded.restart();
    }
  });

  it('configured credentials serve callers that bring none', async () => {
    const { guarded, secret } = lab();
    const registries = { [guarded.host]: { username: ALICE.username, password: ALICE.password } };
    await using weir = await WeirNode.start({ registries });
    await using containerd = await Containerd.start();
    await containerd.writeHosts({ registry: guarded.host, server: guarded.url, mirrors: [weir.url] });
    await containerd.cri.pullOk(`${guarded.host}/${PRIVATE}:v1`);
    await assertIntact(containerd, secret);
    assert.ok(!weir.log.includes(ALICE.password), 'the log holds no password');
  });

  it('configured credentials serve a runtime with a pull secret although registry and token server are gone', async () => {
    const { pantry, secret } = lab();
    await using tokens = await TokenServer.start({ users: USERS });
    await using guarded = await Registry.start({ storage: pantry.storage, tokenAuth: tokens.auth });
    const registries = { [guarded.host]: { username: ALICE.username, password: ALICE.password } };
    await using weir = await WeirNode.start({
      registries,
      settings: { 'access.ttl': '0s', 'tags.ttl': '0s' },
    });
    const name = `${guarded.host}/${PRIVATE}:v1`;
    const pull = async (): Promise<void> => {
      await using containerd = await Containerd.start();
      await containerd.writeHosts({ registry: guarded.host, server: guarded.url, mirrors: [weir.url] });
      await containerd.cri.pullOk(name, { auth: ALICE });
      await assertIntact(containerd, secret);
    };
    await pull();
    await guarded.stop();
    await tokens[Symbol.asyncDispose]();
    await pull();
  });
});

/** Brings the image's content into the store with the requests of an entitled caller. */
async function warm(
  weir: WeirNode,
  registry: string,
  image: TestImage,
  headers: Record<string, string>,
  repository: string = PRIVATE,
): Promise<void> {
  for (const path of [
    `manifests/v1`,
    `manifests/${image.digest}`,
    ...image.blobs.map(({ digest }) => `blobs/${digest}`),
  ]) {
    const answer = await request(weir.urlOf(registry, `${repository}/${path}`), { headers });
    assert.equal(answer.status, 200, `${path}: ${answer.body.toString().slice(0, 500)}`);
  }
}

/** Every path of a private image that a caller could ask for. */
function privatePaths(image: TestImage): readonly string[] {
  const blobs = image.blobs.map(({ digest }) => `${PRIVATE}/blobs/${digest}`);
  return [`${PRIVATE}/manifests/v1`, `${PRIVATE}/manifests/${image.digest}`, ...blobs];
}
