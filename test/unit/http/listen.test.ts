import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { isWeirError } from '../../../src/util/errors.ts';
import { listen, urlOf, type ListenAddress } from '../../../src/http/listen.ts';

/** The URLs of the servers, which are closed when the test is over. */
async function urlsOf(
  addresses: readonly ListenAddress[],
  warnings: string[] = [],
): Promise<AsyncDisposable & { readonly urls: readonly string[] }> {
  const servers = await listen({
    addresses,
    create: () => createServer(),
    setting: 'admin.listen',
    onWarning: (message) => warnings.push(message),
  });
  return {
    urls: servers.map(urlOf),
    [Symbol.asyncDispose]: async () => servers.forEach((server) => server.close()),
  };
}

describe('listen', () => {
  it('opens all addresses, with one port if any port will do', async () => {
    await using all = await urlsOf([
      { host: '127.0.0.1', port: 0 },
      { host: '127.0.0.2', port: 0 },
    ]);
    const { port } = new URL(all.urls[0] ?? '');
    assert.deepEqual(all.urls, [`http://127.0.0.1:${port}`, `http://127.0.0.2:${port}`]);
  });

  it('leaves out an address that a wildcard covers', async () => {
    await using all = await urlsOf([
      { host: '127.0.0.1', port: 0 },
      { host: '0.0.0.0', port: 0 },
    ]);
    assert.equal(all.urls.length, 1);
    assert.match(all.urls[0] ?? '', /^http:\/\/0\.0\.0\.0:\d+$/);
  });

  it('warns about an address that does not exist here, and fails if none does', async () => {
    const warnings: string[] = [];
    const missing = { host: '192.0.2.1', port: 0 };
    await using all = await urlsOf([missing, { host: '127.0.0.1', port: 0 }], warnings);
    assert.equal(all.urls.length, 1);
    assert.deepEqual(warnings, ['cannot listen on 192.0.2.1: the address does not exist here']);
    await assert.rejects(urlsOf([missing]), (error) => isWeirError(error, 'address_in_use'));
  });

  it('names the setting to change if the port is taken', async () => {
    await using first = await urlsOf([{ host: '127.0.0.1', port: 0 }]);
    const port = Number(new URL(first.urls[0] ?? '').port);
    await assert.rejects(
      urlsOf([{ host: '127.0.0.1', port }]),
      /is in use by another program: choose another with --admin-listen/,
    );
  });
});
