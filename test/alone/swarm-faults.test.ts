/** Faults of nodes, links and the registry while five nodes pull an image: no pull fails because of them. */
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
/** A link so thin that the nodes take longer to send each other chunks than the registry to send the image. */
const THIN = '30mbit';
/** The links of the other nodes, and a tenth of them. */
const QUICK = '100mbit';
const SLOW = '10mbit';
const PARTITION = 4 * SECOND;

/** Registry bytes over image bytes; five would be no sharing. */
const ONCE = 1.1;
/** The same if one is killed, or so slow that others take over: chunks that only it has or fetches leave twice. */
const HINDERED = 1.25;
/** The same if the network splits: each half needs the chunks that only the other half has fetched. */
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

  it('the other four succeed if one of them is killed', () =>
    inOneOfThreeGoes(async () => {
      const { storage, large } = lab();
      await using scene = await SwarmScene.create({ storage });
      const victim = scene.node(2);
      const pulls = await Pulls.start(scene, large);
      await pulls.registrySent(0.4);
      await Promise.all([victim.weir.kill(), victim.containerd.kill()]);
      // The chunks that it alone had fetched, about a fifth of those that had left, leave the registry again.
      await pulls.succeed(HINDERED, { except: [victim] });
    }));

  it('all succeed, and meet again, if two are cut off from the rest, but not from the registry', () =>
    inOneOfThreeGoes(async () => {
      const { storage, large } = lab();
      await using scene = await SwarmScene.create({ storage });
      const hosts = scene.nodes.map(({ host }) => host);
      const pulls = await Pulls.start(scene, large);
      await pulls.registrySent(0.3);
      const heal = await scene.lan.cut(hosts.slice(0, 2), hosts.slice(2));
      await delay(PARTITION);
      await heal();
      // At worst, each half itself fetches everything that it lacks when it is cut off.
      await pulls.succeed(TWICE);
      await scene.acquainted();
    }));

  it('all succeed if the registry stops once the image has left it', () =>
    inOneOfThreeGoes(async () => {
      const { storage, small } = lab();
      await using scene = await SwarmScene.create({ storage });
      for (const { host } of scene.nodes) await scene.lan.shape(host, THIN);
      const pulls = await Pulls.start(scene, small);
      await pulls.registrySent(1);
      await pulls.haveAllTogether(); // the bytes may count one chunk twice, and another one not at all
      await scene.registry.stop();
      await pulls.succeed(ONCE);
    }));

  it('all succeed if 2% of the packets between them are lost', () =>
    inOneOfThreeGoes(async () => {
      const { storage, small } = lab();
      await using scene = await SwarmScene.create({ storage });
      const hosts = scene.nodes.map(({ host }) => host);
      for (const host of hosts) await scene.lan.sendSinglePackets(host);
      await scene.lan.lose(20, hosts);
      const pulls = await Pulls.start(scene, small);
      await pulls.succeed(ONCE);
    }));

  it('all succeed if one has a tenth of the others’ link', () =>
    inOneOfThreeGoes(async () => {
      const { storage, small } = lab();
      await using scene = await SwarmScene.create({ storage });
      for (const { host } of scene.nodes)
        await scene.lan.shape(host, host === scene.node(4).host ? SLOW : QUICK);
      const pulls = await Pulls.start(scene, small);
      await pulls.succeed(HINDERED);
    }));

  it('the fifth goes on from the registry if the four that it pulls from freeze', () =>
    inOneOfThreeGoes(async () => {
      const { storage, small } = lab();
      await using scene = await SwarmScene.create({ storage });
      const last = scene.node(4);
      const others = scene.nodes.slice(0, 4);
      await (await Pulls.start(scene, small, { nodes: others })).succeed(ONCE);
      await scene.lan.shape(last.host, THIN);
      const pulls = await Pulls.start(scene, small, { nodes: [last] });
      await hasFromPeers(last, sizeOf(small.image) / 4);
      assert.equal(pulls.pending, 1, 'the pull is still running');
      for (const { weir } of others) process.kill(weir.pid, 'SIGSTOP');
      try {
        await pulls.succeed(1);
      } finally {
        for (const { weir } of others) process.kill(weir.pid, 'SIGCONT');
      }
      assert.ok(scene.registry.accessLog.bytes('/blobs/') > 0, 'the rest came from the registry');
    }));
});

/** Waits until the node has this many bytes from peers. */
async function hasFromPeers({ weir }: SwarmNode, bytes: number): Promise<void> {
  while ((await weir.status()).totals.from_peers < bytes) await delay(20);
}
