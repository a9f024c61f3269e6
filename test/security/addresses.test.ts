/** A registry must lead a node to no service of the node: not by redirects, not by the realm of its tokens. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { AttackScene, ATTACK_NEEDS, PUBLIC } from '../support/attack-scene.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { request, type Answer } from '../support/client.ts';
import { shared } from '../support/fixture.ts';
import { HttpServer, type Handler } from '../support/http-server.ts';
import { privateHosts } from '../support/private-hosts.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WeirNode, type WeirOptions } from '../support/weir.ts';

const SECRET = '{"token":"a-secret-of-the-node","tags":["a-secret-of-the-node"]}';
const answerSecret: Handler = (_, response) =>
  void response.writeHead(200, { 'content-type': 'application/json' }).end(SECRET);

requires(
  'root',
  'unshare',
  'openssl',
)('a registry of an attacker, over https', () => {
  const lab = shared(async (stack) => {
    const dir = stack.use(await TempDir.create('addresses'));
    const authority = await CertificateAuthority.create(dir);
    const tls = await authority.issue(
      'evil.example',
      'inside.example',
      'localhost',
      'x.localhost',
      '127.0.0.1',
    );
    const evil = stack.use(await HttpServer.start(notFound, { tls }));
    // Services of the node: one that it trusts over TLS, one without TLS, and one that counts connections.
    const inside = stack.use(await HttpServer.start(answerSecret, { tls }));
    const plain = stack.use(await HttpServer.start(answerSecret));
    const doors = stack.use(await Doors.open());
    // Names that a resolver leads to the node itself.
    const names = { 'evil.example': '127.0.0.1', 'inside.example': '127.0.0.1', 'x.localhost': '127.0.0.1' };
    const within = await privateHosts(dir, names);
    const start = async (more: Pick<WeirOptions, 'registries' | 'settings'> = {}): Promise<WeirNode> => {
      const settings = { 'cluster.mode': 'off', 'upstream.ca-file': authority.file, ...more.settings };
      return WeirNode.start({ within, ...more, settings });
    };
    const node = stack.use(await start());
    return { evil, inside, plain, doors, node, start };
  });

  /** The attacker's registry at its name. */
  const evilHost = (): string => `evil.example:${portOf(lab().evil)}`;
  /** Asks the mirror for a list of the attacker's registry, which is passed on as it comes. */
  const list = (node: WeirNode = lab().node, repository = 'x/y'): Promise<Answer> =>
    request(node.urlOf(evilHost(), `${repository}/tags/list`));
  const redirectTo = (location: string): void => {
    lab().evil.handler = (_, response) => void response.writeHead(307, { location }).end();
  };

  it('is asked by the node (the attack works)', async () => {
    const { evil, node } = lab();
    evil.handler = answerSecret;
    const { status, body } = await list(node);
    assert.deepEqual([status, body.toString()], [200, SECRET]);
  });

  it('makes no connection to the node, in whatever form its redirects write the address', async () => {
    const { doors, node } = lab();
    const numbers = '127.0.0.1 127.1 0x7f000001 2130706433 0177.0.0.1 127.0.0.1. 127.255.255.254 0.0.0.0 0';
    const groups = '[::1] [::] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1]';
    const names = 'localhost LOCALHOST localhost. x.localhost x.localhost. inside.example inside.example.';
    const hosts = [numbers, groups, names].flatMap((some) => some.split(' '));
    for (const host of hosts) {
      redirectTo(`https://${host}:${doors.port}/v2/`);
      const { status } = await list(node);
      assert.equal(doors.knocks, 0, `somebody came by way of ${host}`);
      assert.ok([404, 502].includes(status), `${host}: ${status}`);
    }
    await node.logged(/127\.0\.0\.1 is loopback.*registries\..*address_refused/);
  });

  it('shows no answer of a service of the node by a redirect to a name', async () => {
    const { inside, node } = lab();
    redirectTo(`https://inside.example:${portOf(inside)}/v2/`);
    const { body } = await list(node);
    assert.ok(!body.includes('secret'), body.toString());
    assert.equal(inside.accepted, 0);
  });

  it('gets no token from a service of the node by the realm of its token server', async () => {
    const { evil, inside, plain, node } = lab();
    const realms = [
      `http://127.0.0.1:${portOf(plain)}/metadata/identity?resource=x`,
      `http://inside.example:${portOf(plain)}/metadata/identity`,
      `https://127.0.0.1:${portOf(inside)}/token`,
      `https://inside.example:${portOf(inside)}/token`,
      `https://x.localhost:${portOf(inside)}/token`,
      `https://evil.example:${portOf(evil)}/moved`,
    ];
    for (const realm of realms) {
      evil.requests.length = 0;
      evil.handler = (asked, response) => {
        if (asked.url?.startsWith('/moved') === true)
          response.writeHead(302, { location: `https://inside.example:${portOf(inside)}/token` }).end();
        else response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="s"` }).end();
      };
      await list(node);
      assert.deepEqual(plain.requests, [], realm);
      assert.equal(plain.accepted + inside.accepted, 0, realm);
      assert.ok(evil.requests.length > 0);
      for (const { headers } of evil.requests) assert.equal(headers['authorization'], undefined, realm);
    }
  });

  it('gets no token that the node has fetched for another registry', async () => {
    const { evil, node } = lab();
    await using tokens = await HttpServer.start(answerSecret);
    const challenge = `Bearer realm="${tokens.url}/token",service="s",scope="repository:local/app:pull"`;
    const guarded: Handler = (asked, response) => {
      if (asked.headers.authorization === undefined)
        response.writeHead(401, { 'www-authenticate': challenge }).end();
      else void answerSecret(asked, response);
    };
    await using local = await HttpServer.start(guarded);
    const own = await request(node.urlOf(local.host, 'local/app/tags/list'));
    assert.equal(own.status, 200, 'a registry of this machine may have its token server there');
    assert.equal(local.requests.at(-1)?.headers['authorization'], 'Bearer a-secret-of-the-node');
    evil.requests.length = 0;
    evil.handler = guarded;
    await list(node, 'local/app');
    assert.ok(evil.requests.length > 0);
    for (const { headers } of evil.requests) assert.equal(headers['authorization'], undefined);
  });

  it('cannot use a connection that a caller has opened', async () => {
    const { evil, inside, start } = lab();
    await using own = await start();
    const host = `inside.example:${portOf(inside)}`;
    const named = await request(own.urlOf(host, 'x/y/tags/list'));
    assert.equal(named.status, 200, 'a caller may name a place that its runtime reaches');
    const before = inside.requests.length;
    evil.requests.length = 0;
    redirectTo(`https://${host}/v2/`);
    const { status, body } = await list(own);
    assert.deepEqual([status, inside.requests.length], [404, before]);
    assert.ok(!body.includes('secret'));
    assert.ok(evil.requests.length > 0);
  });

  it('leads to a place that the operator has configured', async () => {
    const { inside, start } = lab();
    const host = `inside.example:${portOf(inside)}`;
    await using own = await start({ registries: { [host]: {} } });
    redirectTo(`https://${host}/v2/`);
    const { status, body } = await list(own);
    assert.deepEqual([status, body.toString()], [200, SECRET]);
  });
});

requires(...ATTACK_NEEDS)('a registry on this machine with its token server there', () => {
  it('serves pulls as before', async () => {
    await using scene = await AttackScene.start({ layer: 1000 });
    // Nothing is configured: that a caller names the place is enough.
    await using node = await WeirNode.start({ settings: { 'cluster.mode': 'off' } });
    const { openImage, registry, tokens } = scene;
    const paths = ['manifests/v1', ...openImage.blobs.map(({ digest }) => `blobs/${digest}`)];
    for (const path of paths) {
      const { status, broken } = await request(node.urlOf(registry.host, `${PUBLIC}/${path}`));
      assert.deepEqual([status, broken], [200, undefined], path);
    }
    assert.ok(tokens.issued > 0);
  });
});

function notFound(...[, response]: Parameters<Handler>): void {
  response.writeHead(404).end();
}

function portOf({ host }: HttpServer): string {
  return new URL(`http://${host}`).port;
}

/** Ports of one number at 127.0.0.1, at the last address of loopback, and at ::1. */
class Doors implements AsyncDisposable {
  /** Connections so far. */
  knocks = 0;
  readonly port: number;
  readonly #servers: readonly Server[];

  private constructor(port: number, servers: readonly Server[]) {
    this.port = port;
    this.#servers = servers;
    for (const server of servers)
      server.on('connection', (socket) => {
        this.knocks++;
        socket.destroy();
      });
  }

  static async open(): Promise<Doors> {
    const servers: Server[] = [];
    let port = 0;
    for (const host of ['127.0.0.1', '127.255.255.254', '::1']) {
      const server = createServer().listen(port, host);
      await once(server, 'listening');
      ({ port } = server.address() as AddressInfo);
      servers.push(server);
    }
    return new Doors(port, servers);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      server.close();
      await once(server, 'close');
    }
  }
}
