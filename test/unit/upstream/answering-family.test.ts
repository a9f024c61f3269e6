import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { AnsweringFamily } from '../../../src/upstream/answering-family.ts';
import type { buildConnector } from '../../../src/upstream/undici.ts';

const ADDRESSES: readonly LookupAddress[] = [
  { address: '2001:db8::1', family: 6 },
  { address: '192.0.2.1', family: 4 },
  { address: '2001:db8::2', family: 6 },
];

describe('upstream: the version of IP that answers', () => {
  it('comes first for that host, and for no other', async () => {
    const families = new AnsweringFamily();
    const find = (hostname: string): Promise<readonly string[]> =>
      new Promise((resolve, reject) => {
        const lookup = families.preferring((_hostname, _options, callback) => callback(null, [...ADDRESSES]));
        lookup(hostname, { all: true }, (error, found) => {
          if (error !== null || typeof found === 'string') reject(new Error('one address', { cause: error }));
          else resolve(found.map(({ address }) => address));
        });
      });
    assert.deepEqual(await find('a.test'), ['2001:db8::1', '192.0.2.1', '2001:db8::2']);
    const server = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const connector = families.remembering((_target, callback) => {
      const socket = connect(port, '127.0.0.1', () => callback(null, socket));
    });
    const target = { hostname: 'a.test', protocol: 'http:', port: '80' } as buildConnector.Options;
    const socket = await new Promise<{ destroy(): void } | null>((resolve) =>
      connector(target, (...[, connected]) => resolve(connected)),
    );
    socket?.destroy();
    server.close();
    assert.deepEqual(await find('a.test'), ['192.0.2.1', '2001:db8::1', '2001:db8::2']);
    assert.deepEqual(await find('b.test'), ['2001:db8::1', '192.0.2.1', '2001:db8::2']);
  });

  it('is not learned from a connection that failed', async () => {
    const families = new AnsweringFamily();
    const failing = families.remembering((_target, callback) => callback(new Error('refused'), null));
    const target = { hostname: 'a.test', protocol: 'http:', port: '80' } as buildConnector.Options;
    const error = await new Promise<Error | null>((resolve) =>
      failing(target, (...[failed]) => resolve(failed)),
    );
    assert.equal(error?.message, 'refused');
  });
});
