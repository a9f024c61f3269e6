import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { systemClock } from '../../../src/util/clock.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseManifestReference } from '../../../src/oci/reference.ts';
import type { RegistryHost } from '../../../src/oci/repository.ts';
import type { Credential } from '../../../src/upstream/credential.ts';
import { follow, type Hop } from '../../../src/upstream/redirect.ts';
import type { RegistryConfig } from '../../../src/upstream/registry-config.ts';
import type { Response } from '../../../src/upstream/response.ts';
import { TokenSource } from '../../../src/upstream/token.ts';
import { HttpServer, type Handler } from '../../support/http-server.ts';
import { as, collect, failsWith, makeBlob, repositoryAt, serveBytes, TestUpstream } from './fixture.ts';

const manifest = Buffer.from('{"schemaVersion":2}');
const latest = parseManifestReference('latest');
const ann: Credential = { kind: 'basic', username: 'ann', password: 'secret' };

function serveManifest(response: ServerResponse): void {
  response.writeHead(200, {
    'content-type': 'application/vnd.oci.image.index.v1+json; charset=utf-8',
    'content-length': manifest.length,
    'docker-content-digest': digestOf(manifest),
  });
  response.end(manifest);
}

function challenge(realm: string, more = ''): string {
  return `Bearer realm="${realm}/token",service="srv",scope="repository:team/app:pull"${more}`;
}

/** A registry that accepts `tokens`, and otherwise answers with a challenge that names `realm`. */
function bearerRegistry(realm: string, tokens: ReadonlySet<string>, error = ''): Handler {
  return (request, response) => {
    const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1];
    if (token !== undefined && tokens.has(token)) serveManifest(response);
    else response.writeHead(401, { 'www-authenticate': challenge(realm, token && error) }).end();
  };
}

function giveTokens(tokens: Set<string>, answer: (n: number) => object = () => ({})): Handler {
  let count = 0;
  return (_request, response) => {
    const token = `token-${++count}`;
    tokens.add(token);
    response.end(JSON.stringify({ token, ...answer(count) }));
  };
}

function config(host: string, of: RegistryConfig): ReadonlyMap<RegistryHost, RegistryConfig> {
  return new Map([[host as RegistryHost, of]]);
}

const authorizations = (server: HttpServer): readonly unknown[] =>
  server.requests.map(({ headers }) => headers['authorization']);

describe('upstream: authentication', () => {
  it('gets an anonymous token, and sends it at once the next time', async () => {
    const tokens = new Set<string>();
    await using auth = await HttpServer.start(giveTokens(tokens));
    await using registry = await HttpServer.start(bearerRegistry(auth.url, tokens));
    await using upstream = new TestUpstream();
    for (let i = 0; i < 3; i++) await upstream.getManifest(repositoryAt(registry.host), latest);
    assert.deepEqual(authorizations(registry), [
      undefined,
      'Bearer token-1',
      'Bearer token-1',
      'Bearer token-1',
    ]);
    assert.equal(auth.requests.length, 1);
    const url = new URL(auth.requests[0]?.url ?? '', auth.url);
    assert.equal(url.searchParams.get('service'), 'srv');
    assert.equal(url.searchParams.get('scope'), 'repository:team/app:pull');
    assert.equal(auth.requests[0]?.headers['authorization'], undefined);
  });

  it("exchanges the caller's Basic credential, and never uses its token for another caller", async () => {
    const tokens = new Set<string>();
    await using auth = await HttpServer.start(giveTokens(tokens));
    await using registry = await HttpServer.start(bearerRegistry(auth.url, tokens));
    await using upstream = new TestUpstream();
    const repository = repositoryAt(registry.host);
    await upstream.getManifest(repository, latest, as(registry.host, ann));
    await upstream.getManifest(repository, latest);
    assert.deepEqual(authorizations(auth), ['Basic YW5uOnNlY3JldA==', undefined]);
    assert.deepEqual(authorizations(registry), [undefined, 'Bearer token-1', 'Bearer token-2']);
  });

  it("passes the caller's Bearer token on, and relays the challenge if it is refused", async () => {
    const tokens = new Set(['good']);
    await using auth = await HttpServer.start(giveTokens(new Set()));
    await using registry = await HttpServer.start(bearerRegistry(auth.url, tokens));
    const configured = config(registry.host, { credential: ann });
    await using upstream = new TestUpstream({ registries: configured });
    const repository = repositoryAt(registry.host);
    await upstream.getManifest(repository, latest, as(registry.host, { kind: 'bearer', token: 'good' }));
    const refused = upstream.getManifest(
      repository,
      latest,
      as(registry.host, { kind: 'bearer', token: 'bad' }),
    );
    const error = await failsWith('upstream_unauthorized', refused);
    assert.equal(error.detail['challenge'], challenge(auth.url));
    assert.deepEqual(authorizations(registry), ['Bearer good', 'Bearer bad']);
    assert.equal(auth.requests.length, 0, 'the configured credential must not step in');
  });

  it('relays the challenge if the token server refuses', async () => {
    await using auth = await HttpServer.start((_, response) => void response.writeHead(401).end());
    await using registry = await HttpServer.start(bearerRegistry(auth.url, new Set()));
    await using upstream = new TestUpstream();
    const repository = repositoryAt(registry.host);
    for (const credential of [undefined, ann]) {
      const error = await failsWith(
        'upstream_unauthorized',
        upstream.getManifest(repository, latest, as(registry.host, credential)),
      );
      assert.equal(error.detail['challenge'], challenge(auth.url));
    }
  });

  it('relays the first challenge, not one about its own token', async () => {
    await using auth = await HttpServer.start(giveTokens(new Set()));
    const error = ',error="insufficient_scope"';
    await using registry = await HttpServer.start(bearerRegistry(auth.url, new Set(), error));
    await using upstream = new TestUpstream();
    for (let i = 0; i < 2; i++) {
      const failed = await failsWith(
        'upstream_unauthorized',
        upstream.headManifest(repositoryAt(registry.host), latest),
      );
      assert.equal(failed.detail['challenge'], challenge(auth.url));
    }
    assert.equal(auth.requests.length, 1, 'a token that lacks rights is not fetched anew');
    assert.equal(registry.requests.length, 3);
  });

  it('renews a token that the registry no longer accepts', async () => {
    const tokens = new Set<string>();
    await using auth = await HttpServer.start(giveTokens(tokens));
    await using registry = await HttpServer.start(bearerRegistry(auth.url, tokens, ',error="invalid_token"'));
    await using upstream = new TestUpstream();
    await upstream.getManifest(repositoryAt(registry.host), latest);
    tokens.clear();
    await upstream.getManifest(repositoryAt(registry.host), latest);
    assert.equal(auth.requests.length, 2);
  });

  it('renews a token before it expires', async () => {
    const tokens = new Set<string>();
    await using auth = await HttpServer.start(giveTokens(tokens, () => ({ expires_in: 30 })));
    await using registry = await HttpServer.start(bearerRegistry(auth.url, tokens));
    let now = 0;
    const clock = { now: () => now, monotonic: () => now, sleep: async () => undefined, random: () => 0 };
    await using upstream = new TestUpstream({ clock });
    for (now of [0, 23_000, 25_000]) await upstream.getManifest(repositoryAt(registry.host), latest);
    assert.equal(auth.requests.length, 2);
  });

  it('asks once for a token for concurrent callers, also if the first gives up', async () => {
    const tokens = new Set<string>();
    const gate = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const give = giveTokens(tokens);
    await using auth = await HttpServer.start(async (request, response) => {
      asked.resolve();
      await gate.promise;
      await give(request, response);
    });
    await using registry = await HttpServer.start(bearerRegistry(auth.url, tokens));
    await using upstream = new TestUpstream();
    const repository = repositoryAt(registry.host);
    const impatient = new AbortController();
    const first = failsWith(
      'aborted',
      upstream.getManifest(repository, latest, { signal: impatient.signal }),
    );
    await asked.promise;
    const others = [1, 2, 3].map(() => upstream.getManifest(repository, latest));
    impatient.abort();
    await first;
    gate.resolve();
    await Promise.all(others);
    assert.equal(auth.requests.length, 1);
  });

  it('accepts access_token, and refuses answers without a token', async () => {
    let answer: object = { access_token: 'abc' };
    await using auth = await HttpServer.start((_, response) => void response.end(JSON.stringify(answer)));
    await using registry = await HttpServer.start(bearerRegistry(auth.url, new Set(['abc'])));
    await using upstream = new TestUpstream();
    await upstream.getManifest(repositoryAt(registry.host), latest);
    for (answer of [{}, { token: 'a\nb' }, { token: 3 }, []]) {
      const other = upstream.getManifest(repositoryAt(registry.host), latest, as(registry.host, ann));
      await failsWith('upstream_protocol', other);
    }
  });

  it('sends Basic if the challenge is Basic, and from then on at once', async () => {
    const expected = 'Basic YW5uOnNlY3JldA==';
    await using registry = await HttpServer.start((request, response) => {
      if (request.headers.authorization === expected) serveManifest(response);
      else response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
    });
    const registries = config(registry.host, { credential: ann });
    await using upstream = new TestUpstream({ registries });
    const repository = repositoryAt(registry.host);
    await upstream.getManifest(repository, latest);
    await upstream.getManifest(repository, latest);
    assert.deepEqual(authorizations(registry), [undefined, expected, expected]);
    const wrong = { kind: 'basic', username: 'ann', password: 'wrong' } as const;
    const refused = upstream.getManifest(repository, latest, as(registry.host, wrong));
    const error = await failsWith('upstream_unauthorized', refused);
    assert.equal(error.detail['challenge'], 'Basic realm="r"');
    assert.equal(
      registry.requests.length,
      4,
      "the caller's credential is refused: the configured is not tried",
    );
  });

  it('refuses a token server without TLS, of another protocol, or with a password in its URL', async () => {
    const realms = [
      'http://auth.test/token',
      'file:///etc/passwd',
      'https://user:password@auth.test/token',
      'no URL',
    ];
    for (const realm of realms) {
      const source = new TokenSource(systemClock);
      const send = async (hop: Hop): Promise<Response> => {
        const rule = { isPlainAllowed: false, registry: 'registry.test' as RegistryHost };
        await follow(hop, ({ url }) => assert.fail(`a request was sent to ${url.href}`), rule);
        return assert.fail('no redirect rule held');
      };
      const from = new URL('https://registry.test');
      const context = { from, caller: 'configured', send } as const;
      const request = { realm, service: undefined, scope: '' };
      for (const credential of [ann, undefined])
        await failsWith('upstream_protocol', source.get(request, credential, context));
    }
  });

  it('gives the token of one registry to no other with the same token server', async () => {
    const tokens = new Set<string>();
    await using auth = await HttpServer.start(giveTokens(tokens));
    await using one = await HttpServer.start(bearerRegistry(auth.url, tokens));
    await using other = await HttpServer.start(bearerRegistry(auth.url, tokens));
    await using upstream = new TestUpstream();
    for (const registry of [one, other]) await upstream.getManifest(repositoryAt(registry.host), latest);
    const [first, second] = [authorizations(one).at(-1), authorizations(other).at(-1)];
    assert.ok(first !== undefined && second !== undefined && first !== second);
    assert.equal(auth.requests.length, 2);
  });

  it('resumes a blob after its token was dropped, then with the credential of another caller', async () => {
    const blob = makeBlob(100_000);
    const tokens = new Set<string>();
    const give = giveTokens(tokens);
    let refuses = false;
    await using auth = await HttpServer.start((request, response) =>
      refuses ? void response.writeHead(401).end() : give(request, response),
    );
    await using registry = await HttpServer.start((request, response) => {
      const token = request.headers.authorization?.slice('Bearer '.length) ?? '';
      if (!tokens.has(token)) {
        response.writeHead(401, { 'www-authenticate': challenge(auth.url) }).end();
        return;
      }
      const at = Number(/=([0-9]+)/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const range = { 'content-range': `bytes ${at}-99999/100000`, 'content-length': 100_000 - at };
      response.writeHead(at === 0 ? 200 : 206, at === 0 ? { 'content-length': 100_000 } : range);
      if (at >= 80_000) {
        response.end(blob.bytes.subarray(at));
        return;
      }
      tokens.clear();
      if (at > 0) {
        refuses = true;
        tokens.add('bob');
      }
      response.write(blob.bytes.subarray(at, at + 40_000), () => response.socket?.end());
    });
    await using upstream = new TestUpstream();
    const stream = await upstream.openBlob(repositoryAt(registry.host), blob.digest, {
      ...as(registry.host, ann),
      callers: () => [
        as(registry.host, ann).caller,
        as(registry.host, { kind: 'bearer', token: 'bob' }).caller,
      ],
    });
    assert.deepEqual(await collect(stream), blob.bytes);
    assert.equal(authorizations(registry).at(-1), 'Bearer bob');
    assert.equal(auth.requests.length, 3);
  });

  it('fetches a blob for accepted callers after one was refused', async () => {
    const blob = makeBlob(1000);
    await using registry = await HttpServer.start((request: IncomingMessage, response) => {
      if (request.headers.authorization === 'Bearer second') serveBytes(undefined, response, blob.bytes);
      else response.writeHead(request.headers.authorization ? 403 : 401).end();
    });
    await using upstream = new TestUpstream();
    const stream = await upstream.openBlob(repositoryAt(registry.host), blob.digest, {
      callers: () => ['first', 'second'].map((token) => as(registry.host, { kind: 'bearer', token }).caller),
    });
    assert.deepEqual(await collect(stream), blob.bytes);
    assert.deepEqual(authorizations(registry), [undefined, undefined, 'Bearer first', 'Bearer second']);
    assert.equal(registry.requests[1]?.url, '/v2/'); // the first one was refused without a challenge
  });
});
