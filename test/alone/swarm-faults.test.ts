/** What happens to nodes, links and the registry while five nodes pull an image together: no pull fails for it. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { MIB, SECOND } from '../../src/util/clock.ts';
import { shared } from '../support/fixture.ts';
import { buildImage } from '../support/images.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { inOneOfThreeGoes, Pulls, stock } from '../support/swarm-pulls.ts';
import { sizeOf, SwarmScene, type SwarmNode } from '../support/swarm-scene.ts';

/** 200 MiB in 6 layers. */
const LARGE: readonly number[] = [80, 50, 35, 20, 10, 5].map((size) => size * MIB);
const SMALL: readonly number[] = [32, 20, 8, 4].map((size) => size * MIB);
/** A link so thin that what the nodes send each other takes longer than what the registry sends. */
const THIN = '30mbit';
/** What the others have, and a tenth of it. */
const QUICK = '100mbit';
const SLOW = '10mbit';
const PARTITION = 4 * SECOND;

/** Registry bytes over image bytes; five would be no sharing. */
const ONCE = 1.05;
/** The same where one is killed or so slow that others take over: what only that one has, or is getting, leaves twice. */
const HINDERED = 1.25;
/** The same where the network falls apart: each half needs what only the other one has fetched. */
const TWICE = 2;

requires(
  'root',
  'docker-registry',
  'containerd',
  'ip',
  'nft',
)('five nodes that pull at once', () => {
  const lab = shared(async (stack) => {
    const pantry = stack.use(await Registry.start());
    const large = await stock(
      pantry,
      await buildImage({ seed: 'fault large', layers: LARGE }),
      'fault/large',
    );
    const small = await stock(
      pantry,
      await buildImage({ seed: 'fault small', layers: SMALL }),
      'fault/small',
    );
    return { storage: pantry.storage, large, small };
  });

  it('and one of them is killed: the others succeed', () =>
    inOneOfThreeGoes(async () => {
      const { storage, large } = lab();
      await using scene = await SwarmScene.create({ storage });
      const victim = scene.node(2);
      const pulls = await Pulls.start(scene, large);
      await pulls.registrySent(0.4);
      await Promise.all([victim.weir.kill(), victim.containerd.kill()]);
      // What it alone had fetched, about a fifth of what had left, leaves the registry again.
      await pulls.succeed(HINDERED, { except: [victim] });
    }));

  it('and two are cut off from the rest, but not from the registry: all succeed, and meet again', () =>
    inOneOfThreeGoes(async () => {
      const { storage, large } = lab();
      await using scene = await SwarmScene.create({ storage });
      const hosts = scene.nodes.map(({ host }) => host);
      const pulls = await Pulls.start(scene, large);
      await pulls.registrySent(0.3);
      const heal = await scene.lan.cut(hosts.slice(0, 2), hosts.slice(2));
      await delay(PARTITION);
      await heal();
      // At worst each half fetches for itself all that it has not got when it is cut off.
      await pulls.succeed(TWICE);
      await scene.acquainted();
    }));

  it('and the registry is gone once the image has left it: all succeed', () =>
    inOneOfThreeGoes(async () => {
      const { storage, small } = lab();
      await using scene = await SwarmScene.create({ storage });
      for (const { host } of scene.nodes) await scene.lan.shape(host, THIN);
      const pulls = await Pulls.start(scene, small);
      await pulls.registrySent(1);
      await pulls.haveAllTogether(); // a chunk that has left twice does not stand for one that has not left
      await scene.registry.stop();
      await pulls.succeed(ONCE);
    }));

  it('and two of a hundred packets between them are lost: all succeed', () =>
    inOneOfThreeGoes(async () => {
      const { storage, small } = lab();
      await using scene = await SwarmScene.create({ storage });
      const hosts = scene.nodes.map(({ host }) => host);
      for (const host of hosts) await scene.lan.sendSinglePackets(host);
      await scene.lan.lose(20, hosts);
      const pulls = await Pulls.start(scene, small);
      await pulls.succeed(ONCE);
    }));

  it('and one has a tenth of the others’ link: all succeed', () =>
    inOneOfThreeGoes(async () => {
      const { storage, small } = lab();
      await using scene = await SwarmScene.create({ storage });
      for (const { host } of scene.nodes)
        await scene.lan.shape(host, host === scene.node(4).host ? SLOW : QUICK);
      const pulls = await Pulls.start(scene, small);
      await pulls.succeed(HINDERED);
    }));

  it('and four that have it freeze while the fifth has it from them: it goes on from the registry', () =>
    inOneOfThreeGoes(async () => {
      const { storage, small } = lab();
      await using scene = await SwarmScene.create({ storage });
      const last = scene.node(4);
      const others = scene.nodes.slice(0, 4);
      await (await Pulls.start(scene, small, { nodes: others })).succeed(ONCE);
      await scene.lan.shape(last.host, THIN);
      const pulls = await Pulls.start(scene, small, { nodes: [last] });
      await hasFromPeers(last, sizeOf(small.image) / 4);
      assert.equal(pulls.pending, 1, 'it was not over');
      for (const { weir } of others) process.kill(weir.pid, 'SIGSTOP');
      try {
        await pulls.succeed(1);
      } finally {
        for (const { weir } of others) process.kill(weir.pid, 'SIGCONT');
      }
      assert.ok(scene.registry.accessLog.bytes('/blobs/') > 0, 'the rest came from the registry');
    }));
});

/** Waits until the node has so many bytes from peers. */
async function hasFromPeers({ weir }: SwarmNode, bytes: number): Promise<void> {
  while ((await weir.status()).totals.from_peers < bytes) await delay(20);
}
