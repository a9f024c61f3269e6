/** Clusters with IPv6 alone, with both versions of IP of which one is broken, and of nodes that have not the same one. */
import assert from 'node:assert/strict';
import { SECOND } from '../../src/util/clock.ts';
import type { PullResult } from '../faults/wish.ts';
import { IpSite, withPort } from '../support/ip-site.ts';
import { requires } from '../support/requires.ts';
import { knows, listening } from '../support/weir-cluster.ts';

/** Milliseconds that a pull may take longer after a break: until dead connections are given up, on a machine that is busy. */
const GRACE = 8 * SECOND;

requires(
  'root',
  'docker-registry',
  'nsenter',
  'ip',
  'tc',
  'nft',
)('versions of IP', function () {
  it('three nodes without IPv4 find each other and share an image', async () => {
    await using site = await IpSite.create('6', ['6', '6', '6']);
    const image = await site.push('six/app');
    const first = `[${site.host(0).ip6}]:4772`;
    await site.startNodes((index) => (index === 1 ? site.bootstrap : first));
    await Promise.all(site.nodes.map((node) => knows(node, 3)));
    for (const node of site.nodes) {
      assert.match(String(listening(node, 'cluster listening')), /\/ip6\/fd00::/);
    }
    const registry = withPort(site.registry.ip6 ?? '');
    const alone = await site.sent(image, async () => {
      ok(await site.pull(0, { repository: 'six/app', registry, mirror: '[::1]:4770' }));
    });
    assert.ok(alone > 0.9, `${alone} images`);
    const shared = await site.sent(image, async () => {
      ok(await site.pull(1, { repository: 'six/app', registry, mirror: '127.0.0.1:4770' }));
      ok(await site.pull(2, { repository: 'six/app', registry, mirror: '[::1]:4770' }));
    });
    assert.ok(shared < 0.1, `${shared} images left the registry again`);
    await site.push('six/later');
    const byName = await site.sent(image, () => pullAll(site, 'six/later', { registry: site.byName }));
    assert.ok(byName < 2, `${byName} images for three pulls at once`);
  });

  // Which version carries a connection is the nodes' choice: each is broken once.
  for (const [version, name] of [
    ['ip', 'IPv4'],
    ['ip6', 'IPv6'],
  ] as const) {
    it(`pulls go on if ${name} between nodes breaks, and nodes that start so share`, async () => {
      await using site = await IpSite.create('46', ['46', '46', '46']);
      const image = await site.push('broken/before');
      await site.push('broken/at-once');
      await site.push('broken/started');
      await site.startNodes(() => site.bootstrap);
      await Promise.all(site.nodes.map((node) => knows(node, 3)));
      const usual = await pullAll(site, 'broken/before');
      await site.lan.dropTcp(
        version,
        site.hosts.map(({ host }) => host),
      );
      const results = await Promise.all(
        site.hosts.map((_, index) => site.pull(index, { repository: 'broken/at-once' })),
      );
      for (const { outcome, errors, seconds } of results) {
        assert.equal(outcome, 'ok', errors.join('\n'));
        assert.ok(seconds * SECOND < usual + GRACE, `${seconds} s, and ${usual} ms before`);
      }
      await site.restartNodes();
      await Promise.all(site.nodes.map((node) => knows(node, 3)));
      let started = 0;
      const images = await site.sent(image, async () => (started = await pullAll(site, 'broken/started')));
      assert.ok(started < usual + GRACE, `${started} ms, and ${usual} ms before`);
      assert.ok(images < 2, `${images} images left the registry`);
    });
  }

  it('a registry whose IPv6 does not get through is asked over IPv4 from then on', async () => {
    await using site = await IpSite.create('46', ['46']);
    await site.push('fallback/first');
    await site.push('fallback/second');
    const hosts = [...site.hosts, site.registry].map(({ host }) => host);
    const dropped = await site.lan.dropTcp('ip6', hosts);
    await site.startNodes(() => site.bootstrap);
    await pullAll(site, 'fallback/first');
    const before = await dropped();
    assert.ok(before > 0, 'IPv6 comes first');
    await site.program.restart(); // so that there is no connection to it
    await pullAll(site, 'fallback/second');
    assert.equal(await dropped(), before, 'packets over IPv6');
  });

  it('a node with IPv4, one with IPv6 and one with both pull', async () => {
    await using site = await IpSite.create('46', ['4', '6', '46']);
    const image = await site.push('mixed/app');
    await site.startNodes(() => site.bootstrap);
    await Promise.all(site.nodes.map((node) => knows(node, 3)));
    const images = await site.sent(image, () => pullAll(site, 'mixed/app'));
    assert.ok(images < 2.2, `${images} images left the registry for three pulls`);
    await site.push('mixed/later');
    // What the node with both has goes to either one.
    ok(await site.pull(2, { repository: 'mixed/later' }));
    const again = await site.sent(image, async () => {
      ok(await site.pull(0, { repository: 'mixed/later' }));
      ok(await site.pull(1, { repository: 'mixed/later' }));
    });
    assert.ok(again < 0.1, `${again} images left the registry again`);
  });
});

/** Pulls on all nodes at once. @returns milliseconds of the slowest pull */
async function pullAll(
  site: IpSite,
  repository: string,
  wish: { readonly registry?: string } = {},
): Promise<number> {
  const results = await Promise.all(site.hosts.map((_, index) => site.pull(index, { repository, ...wish })));
  for (const result of results) ok(result);
  return Math.max(...results.map(({ seconds }) => seconds)) * SECOND;
}

/** The pull has all from the mirror. */
function ok(result: PullResult): void {
  assert.equal(result.outcome, 'ok', result.errors.join('\n'));
  assert.equal(result.past, 0, `bytes past the mirror; ${result.errors.join('\n')}`);
}
