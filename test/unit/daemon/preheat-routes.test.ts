/** `/v1/preheats`, behind the real admin server. */
import assert from 'node:assert/strict';
import { AdminServer } from '../../../src/daemon/admin-server.ts';
import { PreheatRoutes } from '../../../src/daemon/preheat-routes.ts';
import { isWeirError, WeirError, type ErrorCode } from '../../../src/util/errors.ts';
import { parseRegistryHost } from '../../../src/oci/repository.ts';
import { AdminClient } from '../../../src/status/admin-client.ts';
import { orderPreheat, preheatProgress } from '../../../src/status/preheat-client.ts';
import type { OrderRequest } from '../../../src/preheat/order-request.ts';
import type { PreheatReport } from '../../../src/status/preheat-report.ts';
import { VirtualClock } from '../network/virtual-clock.ts';
import { reportOf } from '../preheat/report.ts';

const TOKEN = 'a-token-of-the-tests-0123456789abcdef';
const JSON_TYPE = { 'content-type': 'application/json' };
const AUTHORIZED = { ...JSON_TYPE, authorization: `Bearer ${TOKEN}` };

interface Scene extends AsyncDisposable {
  readonly url: URL;
  readonly created: OrderRequest[];
  post(body: string, headers?: Record<string, string>): Promise<Response>;
}

async function sceneOf(
  token = TOKEN,
  create: (request: OrderRequest) => PreheatReport = () => reportOf(),
): Promise<Scene> {
  const created: OrderRequest[] = [];
  const routes = new PreheatRoutes({
    token: token === '' ? undefined : Buffer.from(token),
    clock: new VirtualClock(),
    defaultRegistry: parseRegistryHost('docker.io'),
    onOrdered: () => undefined,
    orders: {
      create: (request) => {
        created.push(request);
        return create(request);
      },
      get: (id) => (id === reportOf().id ? reportOf() : undefined),
      list: () => ({ preheats: [] }),
    },
  });
  const admin = await AdminServer.start({
    listen: [{ host: '127.0.0.1', port: 0 }],
    hosts: [],
    ready: () => true,
    metrics: async () => '',
    metricsType: 'text/plain',
    status: () => assert.fail(),
    peers: () => assert.fail(),
    imports: { answer: () => assert.fail() },
    store: { answer: () => assert.fail() },
    pulls: () => assert.fail(),
    logLevel: { report: { level: 'info' }, change: () => assert.fail() } as never,
    token: { holds: () => assert.fail() } as never,
    preheats: routes,
    onWarning: () => undefined,
    onProblem: (error) => {
      throw error;
    },
  });
  const url = new URL('/v1/preheats', admin.addresses[0]);
  return {
    url,
    created,
    post: (body, headers = AUTHORIZED) => fetch(url, { method: 'POST', body, headers }),
    [Symbol.asyncDispose]: () => admin[Symbol.asyncDispose](),
  };
}

describe('PreheatRoutes', () => {
  it('takes orders, and tells how far they are', async () => {
    await using scene = await sceneOf();
    const posted = await scene.post('{"images":["alpine"]}');
    const { id } = reportOf();
    assert.deepEqual([posted.status, posted.headers.get('location')], [201, `/v1/preheats/${id}`]);
    assert.deepEqual(await posted.json(), reportOf());
    assert.equal(scene.created.length, 1);
    const got = await fetch(`${scene.url.href}/${id}`);
    assert.deepEqual([got.status, await got.json()], [200, reportOf()]);
    assert.equal(got.headers.get('x-content-type-options'), 'nosniff');
    assert.deepEqual(await (await fetch(`${scene.url.href}?x=1`)).json(), { preheats: [] });
    assert.equal((await fetch(`${scene.url.href}/${'0'.repeat(32)}`)).status, 404);
  });

  it('refuses everybody without the token, from loopback too', async () => {
    await using scene = await sceneOf();
    const attempts = [
      {},
      { authorization: '' },
      { authorization: TOKEN },
      { authorization: `Basic ${TOKEN}` },
      { authorization: `Bearer ${TOKEN}x` },
      { authorization: `Bearer ${TOKEN.slice(0, -1)}` },
      { authorization: 'Bearer ' },
      { authorization: `Bearer ${'x'.repeat(4000)}` },
    ];
    for (const attempt of attempts) {
      const { status, headers } = await scene.post('{"images":["alpine"]}', { ...JSON_TYPE, ...attempt });
      assert.deepEqual([status, headers.get('www-authenticate')], [401, 'Bearer realm="weir preheat"']);
    }
    assert.equal(scene.created.length, 0);
  });

  it('is off without a token, and says what to set', async () => {
    await using off = await sceneOf('');
    for (const headers of [JSON_TYPE, AUTHORIZED, { ...JSON_TYPE, authorization: 'Bearer undefined' }]) {
      const answer = await off.post('{"images":["alpine"]}', headers);
      assert.equal(answer.status, 403);
      assert.match(await answer.text(), /set preheat\.token-file/);
    }
    assert.equal((await fetch(off.url)).status, 200);
  });

  it('refuses web pages, other methods, and what is no order', async () => {
    await using scene = await sceneOf();
    const status = async (asked: Promise<Response>): Promise<number> => (await asked).status;
    const order = '{"images":["alpine"]}';
    assert.equal(await status(scene.post(order, { ...AUTHORIZED, origin: 'http://evil.example' })), 403);
    assert.equal(await status(scene.post(order, { ...AUTHORIZED, 'sec-fetch-site': 'cross-site' })), 403);
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp']) {
      assert.equal(await status(scene.post(order, { ...AUTHORIZED, 'content-type': type })), 415);
    }
    assert.equal(await status(scene.post('{}')), 400);
    assert.equal(await status(scene.post('no JSON')), 400);
    assert.equal(await status(scene.post('{"images":["UPPER"]}')), 400);
    assert.equal(await status(scene.post(`{"images":["${'x'.repeat(70_000)}"]}`)), 413);
    for (const method of ['PUT', 'DELETE', 'OPTIONS']) {
      const answer = await fetch(scene.url, { method, headers: AUTHORIZED });
      assert.deepEqual([answer.status, answer.headers.get('allow')], [405, 'GET, HEAD, POST']);
    }
    assert.equal(
      await status(fetch(`${scene.url.href}/x`, { method: 'POST', headers: AUTHORIZED, body: order })),
      405,
    );
    assert.equal(scene.created.length, 0);
  });

  it('tells a client by code what was wrong', async () => {
    const tooMany = (): never => {
      throw new WeirError('too_many_requests', '16 orders are not over yet');
    };
    await using scene = await sceneOf(TOKEN, tooMany);
    await using client = new AdminClient(scene.url);
    const fails = (
      token: string | undefined,
      body: Record<string, unknown>,
      code: ErrorCode,
    ): Promise<void> =>
      assert.rejects(orderPreheat(client, body, { token }), (error: unknown) => isWeirError(error, code));
    await fails(TOKEN, { images: ['a'] }, 'too_many_requests');
    await fails(TOKEN, {}, 'bad_request');
    await fails('wrong', { images: ['a'] }, 'upstream_unauthorized');
    await fails(undefined, { images: ['a'] }, 'upstream_unauthorized');
    await assert.rejects(
      preheatProgress(client, '0'.repeat(32), { token: undefined }),
      (error: unknown) => isWeirError(error, 'not_found') && /knows no such order/.test(error.message),
    );
    assert.deepEqual(await preheatProgress(client, reportOf().id, { token: undefined }), reportOf());
  });
});
