/** With upstream.allow-private: no, a registry must not lead a node into the private networks around it. */
import assert from 'node:assert/strict';
import { CertificateAuthority } from '../support/certificates.ts';
import { request, type Answer } from '../support/client.ts';
import { shared } from '../support/fixture.ts';
import { HttpServer } from '../support/http-server.ts';
import { Lan } from '../support/lan.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WeirNode, type WeirOptions } from '../support/weir.ts';

const TAGS = '{"name":"x/y","tags":["v1"]}';

requires(
  'root',
  'unshare',
  'nsenter',
  'ip',
  'tc',
  'openssl',
)('a registry in a private network', () => {
  const lab = shared(async (stack) => {
    const dir = stack.use(await TempDir.create('private-networks'));
    const lan = stack.use(await Lan.create());
    const address = await lan.addTestProcess();
    const authority = await CertificateAuthority.create(dir);
    const tls = await authority.issue(address);
    const options = { tls, address };
    const storage = stack.use(await HttpServer.start((_, response) => void response.end(TAGS), options));
    const registry = stack.use(await HttpServer.start((_, response) => void response.end(TAGS), options));
    const host = await lan.addHost('100mbit');
    const start = (allowPrivate: string, registries: WeirOptions['registries'] = {}): Promise<WeirNode> =>
      WeirNode.start({
        within: host.namespace.enter,
        registries,
        settings: {
          'cluster.mode': 'off',
          'mirror.listen': `${host.address}:0`,
          'upstream.ca-file': authority.file,
          'upstream.allow-private': allowPrivate,
        },
      });
    return { registry, storage, start };
  });
  const list = (node: WeirNode): Promise<Answer> => request(node.urlOf(lab().registry.host, 'x/y/tags/list'));
  const redirect = (): void => {
    const { registry, storage } = lab();
    storage.requests.length = 0;
    registry.handler = (_, response) => void response.writeHead(307, { location: `${storage.url}/x` }).end();
  };

  it('may be named by a caller, and leads nowhere else', async () => {
    const { registry, storage, start } = lab();
    await using node = await start('no');
    registry.handler = (_, response) => void response.end(TAGS);
    const { status, body } = await list(node);
    assert.deepEqual([status, body.toString()], [200, TAGS]);
    redirect();
    assert.equal((await list(node)).status, 404);
    assert.equal(storage.accepted, 0);
    await node.logged(/upstream\.allow-private.*address_refused/);
    registry.handler = (_, response) => {
      const challenge = `Bearer realm="${storage.url}/token",service="s"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    };
    assert.equal((await list(node)).status, 404);
    assert.equal(storage.accepted, 0);
  });

  it('leads to storage there by default, or if the operator has configured the place', async () => {
    const { storage, start } = lab();
    redirect();
    for (const [allowed, registries] of [
      ['yes', {}],
      ['no', { [storage.host]: {} }],
    ] as const) {
      await using node = await start(allowed, registries);
      const { status, body } = await list(node);
      assert.deepEqual([status, body.toString()], [200, TAGS]);
    }
    assert.equal(storage.requests.length, 2);
  });
});
