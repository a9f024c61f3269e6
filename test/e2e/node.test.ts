/** A node's addresses, its admin endpoints, and its bounds on clients that do nothing. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { KIB, MIB } from '../../src/util/clock.ts';
import { request } from '../support/client.ts';
import { shared } from '../support/fixture.ts';
import { blob, randomBytes } from '../support/images.ts';
import { pushBlob } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { WeirNode } from '../support/weir.ts';

const STALLED_READERS = 100;
/** Two buffers of 256 KiB, and the other costs of a connection. */
const MOST_PER_READER = 700 * KIB;

describe('a node', () => {
  it('listens on the loopback addresses alone, with the same port on both', async () => {
    await using weir = await WeirNode.start({ settings: { 'mirror.listen': '127.0.0.1:0,[::1]:0' } });
    const { port } = new URL(weir.url);
    assert.equal((await fetch(`http://127.0.0.1:${port}/v2/`)).status, 200);
    assert.equal((await fetch(`http://[::1]:${port}/v2/`)).status, 200);
    const others = Object.values(networkInterfaces())
      .flatMap((addresses = []) => addresses)
      .filter(({ internal, family }) => !internal && family === 'IPv4')
      .map(({ address }) => address);
    for (const address of [...others, '127.0.0.2']) {
      await assert.rejects(fetch(`http://${address}:${port}/v2/`), TypeError, address);
    }
  });

  it('serves health, readiness and metrics at its admin address', async () => {
    await using weir = await WeirNode.start();
    const ask = async (path: string): Promise<[number, string]> => {
      const response = await fetch(weir.adminUrl + path);
      return [response.status, await response.text()];
    };
    assert.deepEqual(await ask('/healthz'), [200, 'ok\n']);
    assert.deepEqual(await ask('/readyz'), [200, 'ready\n']);
    assert.equal((await ask('/nonsense'))[0], 404);
    assert.equal((await fetch(`${weir.adminUrl}/metrics`, { method: 'POST' })).status, 405);
    assert.equal((await fetch(`${weir.url}/v2/`)).status, 200);
    const metrics = await weir.metrics();
    assert.equal(metrics.sum('weir_mirror_requests_total', { route: 'ping', status: '200' }), 1);
    assert.ok(metrics.sum('process_resident_memory_bytes') > 10 * MIB);
  });

  it('closes a connection that never finishes its header', async () => {
    await using weir = await WeirNode.start();
    const socket = connectTo(weir.url);
    socket.write('GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ');
    socket.resume();
    await once(socket, 'close');
  });

  it('takes connections full of nonsense, and goes on serving', async () => {
    await using weir = await WeirNode.start();
    for (let round = 0; round < 50; round += 1) {
      const socket = connectTo(weir.url);
      socket.on('error', () => undefined); // a reset is a fair answer
      socket.end(randomBytes(`nonsense ${round}`, 2000));
      socket.resume();
      await once(socket, 'close');
    }
    assert.equal((await fetch(`${weir.url}/v2/`)).status, 200);
  });
});

requires('docker-registry')('a node with stalled readers', () => {
  const lab = shared(async (stack) => ({ registry: stack.use(await Registry.start()) }));

  it(`uses less than ${MOST_PER_READER / KIB} KiB for each of ${STALLED_READERS}, and serves the others`, async () => {
    const { registry } = lab();
    const layer = blob('application/octet-stream', randomBytes('stalled', 64 * MIB));
    await pushBlob(registry.url, 'stalled/app', layer);
    await using weir = await WeirNode.start();
    const url = weir.urlOf(registry.host, `stalled/app/blobs/${layer.digest}`);
    assert.equal((await request(url)).digest, layer.digest);
    const before = await residentBytes(weir.pid);
    const { pathname, search } = new URL(url);
    const readers = Array.from({ length: STALLED_READERS }, () => {
      const socket = connectTo(weir.url);
      socket.on('error', () => undefined); // the end of the test
      socket.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      return socket;
    });
    for (const reader of readers) await once(reader, 'readable'); // one read each, and never again
    assert.equal((await request(url)).digest, layer.digest, 'the others are served');
    const grown = (await residentBytes(weir.pid)) - before;
    for (const reader of readers) reader.destroy();
    assert.ok(grown < STALLED_READERS * MOST_PER_READER, `${(grown / MIB).toFixed(0)} MiB more resident`);
  });
});

function connectTo(url: string): Socket {
  return connect(Number(new URL(url).port), '127.0.0.1');
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * KIB;
}
