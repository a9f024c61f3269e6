import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isWeirError, type ErrorCode } from '../../../src/util/errors.ts';
import { AdminClient } from '../../../src/status/admin-client.ts';
import { fakeNode, statusOf } from './fixture.ts';

const fails = (promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> =>
  assert.rejects(promise, (error: unknown) => isWeirError(error, code) && message.test(error.message));

/** A server that is no node. */
async function otherServer(answer: RequestListener): Promise<AsyncDisposable & { readonly url: URL }> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe('AdminClient', () => {
  it('reads the reports of a node', async () => {
    await using node = await fakeNode();
    await using client = new AdminClient(node.address);
    assert.deepEqual(await client.status(), node.status);
    assert.deepEqual(await client.peers(), node.peers);
    node.status = statusOf({ name: 'renamed' });
    assert.equal((await client.status()).name, 'renamed');
  });

  it('tells whether the node serves, and gives its metrics', async () => {
    await using node = await fakeNode();
    await using client = new AdminClient(node.address);
    assert.deepEqual([await client.ready(), await client.metrics()], [true, '']);
    await using server = await otherServer((_, response) => response.writeHead(503).end());
    await using starting = new AdminClient(server.url);
    assert.equal(await starting.ready(), false);
    await fails(starting.metrics(), 'upstream_protocol', /answers 503 for \/metrics/);
  });

  it('reports that nothing answers', async () => {
    await using client = new AdminClient(new URL('http://127.0.0.1:1'));
    await fails(client.status(), 'upstream_unreachable', /^no node answers at http:\/\/127\.0\.0\.1:1$/);
  });

  it('reports that something other than a node answers', async () => {
    const answers: readonly (readonly [RequestListener, RegExp])[] = [
      [(_, response) => response.writeHead(404).end(), /no admin address.*answers 404/],
      [(_, response) => response.end('<html>'), /no admin address/],
      [(_, response) => response.end('{"version":"1"}'), /no admin address.*\(name: /],
      [(_, response) => response.end(Buffer.alloc(17 * 2 ** 20)), /no admin address.*more than/],
    ];
    for (const [answer, message] of answers) {
      await using server = await otherServer(answer);
      await using client = new AdminClient(server.url);
      await fails(client.status(), 'upstream_protocol', message);
    }
  });

  it('reports the refusal of a node in plain characters', async () => {
    await using server = await otherServer((_, response) => {
      response.writeHead(403).end('beyond loopback there is \u001b[31mnothing\n');
    });
    await using client = new AdminClient(server.url);
    await fails(client.status(), 'upstream_denied', /refuses: beyond loopback there is {2}?\[31mnothing$/);
  });

  it('ends with the reason of the signal', async () => {
    await using server = await otherServer(() => undefined);
    await using client = new AdminClient(server.url);
    const reason = new Error('enough');
    const controller = new AbortController();
    const asked = client.status({ signal: controller.signal });
    setImmediate(() => controller.abort(reason));
    await assert.rejects(asked, reason);
  });
});

describe('AdminServer', () => {
  it('answers GET and HEAD with JSON that must not be cached', async () => {
    await using node = await fakeNode();
    for (const path of ['/v1/status', '/v1/peers?x=1']) {
      const response = await fetch(new URL(path, node.address));
      assert.equal(response.status, 200);
      assert.equal(response.headers.get('content-type'), 'application/json; charset=utf-8');
      assert.equal(response.headers.get('cache-control'), 'no-store');
      await response.json();
      const head = await fetch(new URL(path, node.address), { method: 'HEAD' });
      assert.deepEqual([head.status, await head.text()], [200, '']);
      const post = await fetch(new URL(path, node.address), { method: 'POST' });
      assert.deepEqual([post.status, post.headers.get('allow')], [405, 'GET, HEAD']);
    }
    const other = await fetch(new URL('/v1', node.address));
    assert.equal(other.status, 404);
    assert.match(await other.text(), /\/v1\/status/);
  });
});
