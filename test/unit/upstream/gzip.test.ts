import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { Pool } from '../../../src/upstream/undici.ts';
import { unpackDocument } from '../../../src/upstream/gzip.ts';
import type { Response } from '../../../src/upstream/response.ts';
import { send } from '../../../src/upstream/send.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { seededBytes } from '../../support/bytes.ts';

describe('Documents that come gzipped', () => {
  const text = Buffer.from('{"schemaVersion":2}');

  it('are unpacked', () => {
    assert.ok(unpackDocument(gzipSync(text), 100, 'http://a').equals(text));
    assert.equal(unpackDocument(text, 100, 'http://a'), text);
    assert.equal(unpackDocument(Buffer.of(), 100, 'http://a').length, 0);
  });

  it('are refused if they unpack to too much, or are broken', () => {
    const bomb = gzipSync(Buffer.alloc(10_000_000));
    assert.throws(
      () => unpackDocument(bomb, 1_000_000, 'http://a'),
      (error) => isWeirError(error, 'upstream_too_large'),
    );
    assert.throws(
      () => unpackDocument(bomb.subarray(0, 100), 1_000_000, 'http://a'),
      (error) => isWeirError(error, 'upstream_protocol'),
    );
  });
});

describe('Bodies that come gzipped', () => {
  const BODY = Buffer.concat([seededBytes(2_000_000), Buffer.alloc(2_000_000)]);
  let server: Server;
  let sent: Buffer;
  let headers: Record<string, string>;
  let pool: Pool;
  let origin: string;

  beforeEach(async () => {
    sent = gzipSync(BODY);
    headers = { 'content-encoding': 'gzip' };
    server = createServer((_, response) => {
      response.writeHead(200, headers);
      response.end(sent);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    pool = new Pool(origin);
  });
  afterEach(async () => {
    await pool.destroy();
    server.close();
  });

  const get = (unpack = true): Promise<Response> =>
    send(pool, { origin, method: 'GET', path: '/', headers: {}, unpack });

  it('are unpacked if that is asked for, with a reader that pauses', async () => {
    headers['content-length'] = String(sent.length);
    const response = await get();
    assert.equal(response.header('content-encoding'), undefined);
    assert.equal(response.header('content-length'), undefined);
    const parts: Buffer[] = [];
    let pauses = 0;
    await response.into((bytes) => {
      if (pauses++ % 3 === 0) {
        setTimeout(() => response.more(), 1);
        return 0;
      }
      parts.push(Buffer.from(bytes));
      return bytes.length;
    });
    assert.ok(pauses > 3);
    assert.ok(Buffer.concat(parts).equals(BODY));
  });

  it('are given as they are otherwise', async () => {
    assert.ok(
      (await (await get(false)).read(10_000_000)).equals(BODY),
      'a document is unpacked by what it begins with',
    );
    headers = {};
    assert.ok((await (await get()).read(10_000_000)).equals(BODY));
    headers = { 'content-encoding': 'br' };
    sent = Buffer.from('plain');
    assert.equal((await (await get()).read(100)).toString(), 'plain');
  });

  it('end with an error if they are broken', async () => {
    sent = Buffer.concat([sent.subarray(0, 1_500_000), Buffer.alloc(1000)]);
    const response = await get();
    await assert.rejects(
      response.into((bytes) => bytes.length),
      (error) => isWeirError(error, 'upstream_cut'),
    );
  });

  it('end when the reader leaves', async () => {
    const response = await get();
    const taken = response.into(() => 0);
    response.leave();
    await taken;
    await pool.close();
  });
});
