import assert from 'node:assert/strict';
import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { Pool } from 'undici';
import { MIB } from '../../../src/util/clock.ts';
import type { Response } from '../../../src/upstream/response.ts';
import { send } from '../../../src/upstream/send.ts';

/** Answers each request in HTTP chunks of one byte. */
const CHUNKS = 100_000;

async function answering(body: Buffer): Promise<Server> {
  const server = createServer((socket: Socket) => {
    socket.on('error', () => undefined); // the reader may leave
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
      socket.end(body);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function get(pool: Pool, origin: string): Promise<Response> {
  return send(pool, { origin, method: 'GET', path: '/', headers: {} });
}

describe('upstream: Response', () => {
  it('joins HTTP chunks of one byte into few buffers', async () => {
    const controller = { abort: () => undefined, pause: () => undefined, resume: () => undefined } as never;
    const dispatch = (_: unknown, response: Response): boolean => {
      response.onRequestStart(controller);
      response.onResponseStart(controller, 200, {});
      for (let i = 0; i < CHUNKS; i++) response.onResponseData(controller, Buffer.of(i & 0xff));
      response.onResponseEnd();
      return true;
    };
    const response = await get({ dispatch } as never, 'http://a.example');
    const parts: Uint8Array[] = [];
    for await (const part of response.chunks()) parts.push(part);
    assert.ok(parts.length < 100, `${parts.length} parts`);
    const bytes = Buffer.concat(parts);
    assert.equal(bytes.length, CHUNKS);
    assert.ok(bytes.every((byte, i) => byte === (i & 0xff)));
  });

  it('delivers a body in HTTP chunks of one byte whole', async () => {
    const server = await answering(Buffer.from(`${'1\r\nx\r\n'.repeat(CHUNKS)}0\r\n\r\n`));
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const pool = new Pool(origin);
    try {
      const bytes = await (await get(pool, origin)).read(MIB);
      assert.equal(bytes.length, CHUNKS);
    } finally {
      await pool.destroy();
      server.close();
    }
  });
});
