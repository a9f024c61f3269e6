/**
 * An order to preheat makes a node pull with its own credentials, and a member may read what a node has pulled. So the cluster
 * key alone must not be enough for one, and an order must carry no credential.
 */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { KIB, MIB, SECOND } from '../../src/util/clock.ts';
import type { PreheatReport } from '../../src/status/preheat-report.ts';
import { shared } from '../support/fixture.ts';
import { buildImage, type TestImage } from '../support/images.ts';
import { run } from '../support/program.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WEIR } from '../support/weir.ts';
import { WeirCluster } from '../support/weir-cluster.ts';

const PASSWORD = 'the-password-of-the-nodes';
/** Nodes with the credential; the third has none, the fourth is the attacker's. */
const CONFIGURED = 2;
const [BARE, ATTACKER] = [2, 3];

requires('docker-registry', 'htpasswd')('orders to preheat', function () {
  this.timeout(120 * SECOND);

  const lab = shared(async (stack) => {
    const dir = stack.use(await TempDir.create('orders'));
    const [token, attackers] = [dir.join('token'), dir.join('attackers')];
    await writeFile(token, 'the-token-of-the-operator-0123456789', { mode: 0o600 });
    await writeFile(attackers, 'the-token-of-an-attacker-0123456789x', { mode: 0o600 });
    const open = stack.use(await Registry.start());
    const registry = stack.use(await Registry.start({ storage: open.storage, users: { puller: PASSWORD } }));
    const credential = { username: 'puller', password: PASSWORD };
    const cluster = stack.use(
      await WeirCluster.start(4, {
        node: (index) => ({
          settings: {
            'preheat.token-file': index === ATTACKER ? attackers : token,
            'node.name': `node-${index}`,
          },
          registries: { [registry.host]: index < CONFIGURED ? credential : {} },
        }),
      }),
    );
    const pushed = async (name: string): Promise<TestImage> => {
      const image = await buildImage({ seed: name, layers: [4 * MIB, 50 * KIB] });
      await push(open.url, `secret/${name}`, 'v1', image);
      return image;
    };
    const preheat = async (name: string, at: number): Promise<PreheatReport> => {
      const args = ['preheat', `${registry.host}/secret/${name}:v1`, '--wait', '--json'];
      const admin = new URL(cluster.node(at).adminUrl).host;
      const file = at === ATTACKER ? attackers : token;
      const env = { WEIR_CONFIG: '/dev/null' };
      const { stdout, stderr, code } = await run(WEIR, [...args, '--admin', admin, '--token-file', file], {
        env,
      });
      assert.equal(code, 7, stderr);
      return JSON.parse(stdout) as PreheatReport;
    };
    return { registry, cluster, pushed, preheat };
  });

  const stateOf = ({ members }: PreheatReport, index: number): readonly unknown[] => {
    const member = members.find(({ name }) => name === `node-${index}`);
    return [member?.state, member?.reason ?? member?.images[0]?.reason];
  };

  it('have each node use its own credential, and name none', async () => {
    const { registry, cluster, pushed, preheat } = lab();
    const image = await pushed('ours');
    registry.accessLog.clear();
    const report = await preheat('ours', BARE);
    for (let index = 0; index < CONFIGURED; index++) assert.equal(stateOf(report, index)[0], 'done');
    const [state, reason] = stateOf(report, BARE);
    assert.equal(state, 'failed');
    assert.match(String(reason), /^upstream_unauthorized: /);
    assert.match(String(stateOf(report, ATTACKER)[1]), /another token/);
    await registry.accessLog.settled();
    const size = image.blobs.reduce((sum, blob) => sum + blob.size, 0);
    const sent = registry.accessLog.bytes('/secret/ours/blobs/');
    assert.ok(sent >= size && sent < 1.5 * size, `${sent} of ${size}`);
    assert.ok(!cluster.nodes.some(({ log }) => log.includes(PASSWORD)));
  });

  it('are not obeyed if a member gives them that has the cluster key alone', async () => {
    const { registry, pushed, preheat } = lab();
    await pushed('theirs');
    registry.accessLog.clear();
    const report = await preheat('theirs', ATTACKER);
    for (let index = 0; index < ATTACKER; index++) {
      const [state, reason] = stateOf(report, index);
      assert.equal(state, 'failed');
      assert.match(String(reason), /the preheat\.token-file of that node has another token/);
    }
    await registry.accessLog.settled();
    const served = registry.accessLog.matching('/secret/theirs/').filter(({ status }) => status === 200);
    assert.deepEqual(served, []);
  });
});
