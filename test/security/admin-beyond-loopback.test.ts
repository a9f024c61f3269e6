/** The admin address must not tell another host which images are pulled, from where, and by whom. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { shared } from '../support/fixture.ts';
import { Lan, type LanHost } from '../support/lan.ts';
import { run, runOk } from '../support/program.ts';
import { parseAnswer, rawRequest, type RawAnswer } from '../support/raw-http.ts';
import { requires } from '../support/requires.ts';
import { WEIR, WeirNode } from '../support/weir.ts';

/** An address of this machine other than loopback. */
const FORWARDED = '127.0.0.9';
const RATE = '1gbit';
const PORT = 4771;
/** Facts that the reports tell, and metrics do not. */
const TOLD = 'a-name-for-this-node-alone';
const OPEN = ['/healthz', '/readyz', '/metrics'];
const REPORTS = ['/v1/status', '/v1/peers', '/v1/store', '/v1/pulls', '/v1/log-level'];

interface Asking {
  readonly name?: string;
  readonly method?: string;
  readonly headers?: readonly string[];
}

requires(
  'root',
  'ip',
  'tc',
  'nsenter',
  'unshare',
  '/bin/busybox',
)('the admin address beyond loopback', () => {
  const lab = shared(async (stack) => {
    const lan = stack.use(await Lan.create());
    const [host, other] = [await lan.addHost(RATE), await lan.addHost(RATE)];
    return { host, other };
  });

  const start = (listen: string): Promise<WeirNode> =>
    WeirNode.start({
      within: lab().host.namespace.enter,
      settings: { 'admin.listen': listen, 'node.name': TOLD, 'cluster.mode': 'off' },
    });

  /** Asks from a host; `name`: the Host header, if it is not the address. */
  const ask = (
    { namespace }: LanHost,
    to: string,
    path: string,
    { name = to, method = 'GET', headers = [] }: Asking = {},
  ): Promise<RawAnswer> => {
    const input = rawRequest(`${method} ${path} HTTP/1.1`, `Host: ${name}:${PORT}`, ...headers);
    const args = ['nc', '-w', '20', to, String(PORT)];
    return runOk('/bin/busybox', args, { within: namespace.enter, input }).then(parseAnswer);
  };

  const assertKeptBack = (answer: RawAnswer, what: string): void => {
    assert.equal(answer.status, 403, what);
    assert.match(answer.body, /beyond loopback there are .*: run weir status .* on the node/, what);
    assert.ok(!answer.body.includes(TOLD), what);
  };

  it('gives another host only health and metrics, and the node itself all', async () => {
    await using node = await start(`0.0.0.0:${PORT}`);
    const { host, other } = lab();
    for (const path of OPEN) assert.equal((await ask(other, host.address, path)).status, 200, path);
    for (const path of REPORTS) assertKeptBack(await ask(other, host.address, path), path);
    assertKeptBack(await ask(other, host.address, '/v1/pulls?limit=x'), 'a question that cannot be read');
    assert.equal((await ask(other, host.address, '/')).status, 404);
    const token = await readFile(join(node.dataFolder, 'admin-token'), 'utf8');
    const change = await ask(other, host.address, '/v1/log-level', {
      method: 'PUT',
      headers: [`Authorization: Bearer ${token.trim()}`],
    });
    assertKeptBack(change, 'a change, even with the token');

    // Its own address may be forwarded, and a connection forwarded to loopback comes from elsewhere: both ends count.
    const route = [
      'route',
      'replace',
      'local',
      FORWARDED,
      'dev',
      'lo',
      'src',
      host.address,
      'table',
      'local',
    ];
    await runOk('ip', route, { within: host.namespace.enter });
    for (const path of REPORTS) {
      assertKeptBack(await ask(host, host.address, path), path);
      assertKeptBack(await ask(host, FORWARDED, path), path);
      assert.equal((await ask(host, '127.0.0.1', path)).status, 200, path);
    }
  });

  it('serves `weir status` only on the node, on whichever addresses it listens', async () => {
    const { host, other } = lab();
    const within = host.namespace.enter;
    for (const listen of [`0.0.0.0:${PORT}`, `${host.address}:${PORT},127.0.0.1:${PORT}`]) {
      await using _node = await start(listen);
      const env = { WEIR_ADMIN_LISTEN: listen, WEIR_CONFIG: '/dev/null' };
      const status = await runOk(WEIR, ['status'], { within, env });
      assert.ok(status.includes(TOLD), status);
      assert.equal((await ask(other, host.address, '/metrics')).status, 200);
      for (const path of REPORTS) assertKeptBack(await ask(other, host.address, path), path);
      const refused = await run(WEIR, ['status', '--admin', `${host.address}:${PORT}`], { within, env });
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /refuses: beyond loopback there are/);
    }
  });

  it('accepts the address of the node as its name, and no other', async () => {
    await using _node = await start(`0.0.0.0:${PORT}`);
    const { host, other } = lab();
    const answer = await ask(other, host.address, '/metrics', { name: 'attacker.example' });
    assert.equal(answer.status, 403);
    assert.match(answer.body, /admin\.hosts/);
  });
});
