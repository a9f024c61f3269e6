/** The reader, in a process of its own, against a server of this one. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readBlob, readBlobs } from '../../../../bench/node/read-blob.ts';
import { digestOf } from '../../../../src/oci/digest.ts';

/** More than one read of a socket brings. */
const BODY = randomBytes(3_000_000);
const DIGEST = digestOf(BODY);

describe('bench/node/read-blob', () => {
  let server: Server;
  let url: string;
  let connections = 0;
  /** Requests whose answer waits for others. */
  let waiting: (() => void)[] = [];
  let requests = 0;
  /** Answers of /together wait until so many have been asked for. */
  const TOGETHER = 2;

  before(async () => {
    server = createServer((request, response) => {
      requests += 1;
      response.setHeader('Content-Length', BODY.length);
      waiting.push(() => response.end(BODY));
      if (request.url === '/together' && waiting.length < TOGETHER) return;
      for (const each of waiting) each();
      waiting = [];
    });
    server.on('connection', () => (connections += 1));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  beforeEach(() => {
    connections = 0;
    requests = 0;
  });

  after(() => server.close());

  it('reads a blob several times over one connection, and checks its digest', async () => {
    const { bytes, seconds, cpuSeconds } = await readBlob(`${url}/blob`, 3, DIGEST);
    assert.deepEqual([bytes, requests, connections], [3 * BODY.length, 3, 1]);
    assert.ok(seconds > 0 && cpuSeconds > 0);
  });

  it('reads several blobs at a time, each over its own connection', async () => {
    const target = { url: `${url}/together` };
    const { bytes } = await readBlobs([target, target, target, target], TOGETHER);
    assert.deepEqual([bytes, requests, connections], [4 * BODY.length, 4, 4]);
  });

  it('fails on another digest, whichever blob has it', async () => {
    const other = digestOf(Buffer.from('other'));
    await assert.rejects(readBlob(`${url}/blob`, 1, other), /was received/);
    const targets = [
      { url: `${url}/blob`, digest: DIGEST },
      { url: `${url}/blob`, digest: other },
    ];
    await assert.rejects(readBlobs(targets, 2), /was received/);
  });
});
