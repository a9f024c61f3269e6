import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { PoolTransport } from '../../../src/upstream/transport.ts';
import { Pools } from '../../../src/upstream/pools.ts';
import { TrustStore } from '../../../src/upstream/trust.ts';
import { strictHead } from '../../../src/upstream/lenient-head.ts';
import { isWeirError } from '../../../src/util/errors.ts';

const strict = (text: string): string | undefined => strictHead(Buffer.from(text, 'latin1'))?.head.toString();

describe('Heads that are read leniently', () => {
  it('may end their lines with LF, and continue them', () => {
    assert.equal(
      strict('HTTP/1.1 200 OK\nA: b\n  c\r\nD:e\n\nbody'),
      'HTTP/1.1 200 OK\r\na: b c\r\nd: e\r\n\r\n',
    );
  });

  it('keep the bytes behind them', () => {
    const read = strictHead(Buffer.from('HTTP/1.1 200 OK\n\n\r\n\r\nbody'));
    assert.equal(read?.rest.toString(), '\r\n\r\nbody');
  });

  it('are none before their empty line', () => {
    assert.equal(strict('HTTP/1.1 200 OK\nA: b\n'), undefined);
    assert.equal(strict(''), undefined);
  });

  it('have no length beside chunks, and equal lengths once', () => {
    const chunked = strict('HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n');
    assert.equal(chunked, 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
    const twice = strict('HTTP/1.1 200 OK\r\nContent-Length: 9\r\ncontent-length: 9\r\n\r\n');
    assert.equal(twice, 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n');
  });

  it('keep two lengths that differ, so that they are refused', () => {
    const text = strict('HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\n');
    assert.equal(text, 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\ncontent-length: 8\r\n\r\n');
  });

  it('lose control characters of their values', () => {
    assert.equal(strict('HTTP/1.1 200 OK\r\nA: b\x01c\r\n\r\n'), 'HTTP/1.1 200 OK\r\na: b c\r\n\r\n');
  });
});

describe('An origin whose heads are odd', () => {
  const BODY = Buffer.alloc(3_000_000, 'weir');

  /** Answers with `head` and `body`, in pieces of any length. */
  async function ask(
    head: string,
    body: Buffer,
  ): Promise<{ bodies: readonly Buffer[]; connections: number }> {
    let connections = 0;
    const server = createServer((socket) => {
      connections++;
      socket.on('error', () => undefined);
      socket.once('data', () => {
        const bytes = Buffer.concat([Buffer.from(head), body]);
        for (let at = 0; at < bytes.length;) {
          const length = at < head.length ? randomInt(1, 20) : bytes.length;
          socket.write(bytes.subarray(at, at + length));
          at += length;
        }
        socket.end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const pools = new Pools({
      connectTimeout: 5_000,
      headerTimeout: 5_000,
      stallTimeout: 5_000,
      connections: { control: 2, blob: 2 },
      environment: {},
      trust: new TrustStore({ extra: [], files: new Map(), clients: new Map() }),
    });
    const transport = new PoolTransport(pools, 'blob');
    const tls = { caFiles: [], client: undefined, skipVerify: false };
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const get = async (): Promise<Buffer> => {
      const request = { origin, tls, reach: 'anywhere', method: 'GET', path: '/', headers: {} } as const;
      return (await transport.send(request)).read(2 * BODY.length);
    };
    try {
      const bodies = [...(await Promise.all([get(), get()])), await get()];
      return { bodies, connections };
    } finally {
      await pools.close();
      server.close();
    }
  }

  const whole = `${BODY.length.toString(16)}\r\n`;
  const heads: Readonly<Record<string, readonly [string, Buffer]>> = {
    'LF at the ends of lines': [`HTTP/1.1 200 OK\nContent-Length: ${BODY.length}\n\n`, BODY],
    'two equal lengths': [
      `HTTP/1.1 200 OK\r\nContent-Length: ${BODY.length}\r\nContent-Length: ${BODY.length}\r\n\r\n`,
      BODY,
    ],
    'a length beside chunks': [
      'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n',
      Buffer.concat([Buffer.from(whole), BODY, Buffer.from('\r\n0\r\n\r\n')]),
    ],
    'an interim response before': [
      `HTTP/1.1 103 Early\nLink: <a>\n\nHTTP/1.1 200 OK\nContent-Length: ${BODY.length}\n\n`,
      BODY,
    ],
    'no length, and LF': ['HTTP/1.1 200 OK\nConnection: close\n\n', BODY],
  };
  for (const [name, [head, body]] of Object.entries(heads)) {
    it(`is asked again, and at once from then on: ${name}`, async () => {
      const { bodies, connections } = await ask(head, body);
      for (const read of bodies) assert.ok(read.equals(BODY));
      assert.equal(connections, 5, 'two that were refused, and one for each request');
    });
  }

  it('is refused if no way of reading it is right', async () => {
    const head = 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\n';
    await assert.rejects(ask(head, BODY), (error) => isWeirError(error, 'upstream_protocol', 'upstream_cut'));
    await assert.rejects(ask('nonsense\r\n\r\n', BODY), (error) => isWeirError(error, 'upstream_protocol'));
  });
});
