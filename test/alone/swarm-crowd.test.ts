/** A crowd of real runtimes in network namespaces pulls one image, and a registry behind a thin link sends it once. */
import { MIB, SECOND } from '../../src/util/clock.ts';
import { shared } from '../support/fixture.ts';
import { buildImage } from '../support/images.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { inOneOfThreeGoes, Pulls, stock } from '../support/swarm-pulls.ts';
import { SwarmScene } from '../support/swarm-scene.ts';

/** 200 MiB in 6 layers. */
const LARGE: readonly number[] = [80, 50, 35, 20, 10, 5].map((size) => size * MIB);
const SMALL: readonly number[] = [32, 20, 8, 4].map((size) => size * MIB);
/** Registry bytes over image bytes; five would be no sharing. */
const ONCE = 1.1;
/** Spreads five starts over 10 s. */
const GAP = 2.5 * SECOND;

requires(
  'root',
  'docker-registry',
  'containerd',
  'ip',
  'nft',
)('a crowd of five nodes', () => {
  const lab = shared(async (stack) => {
    const pantry = stack.use(await Registry.start());
    const large = await stock(
      pantry,
      await buildImage({ seed: 'crowd large', layers: LARGE }),
      'crowd/large',
    );
    const small = await stock(
      pantry,
      await buildImage({ seed: 'crowd small', layers: SMALL }),
      'crowd/small',
    );
    return { storage: pantry.storage, large, small };
  });

  it('takes 200 MiB from the registry once if all nodes pull at once', () =>
    inOneOfThreeGoes(async () => {
      const { storage, large } = lab();
      await using scene = await SwarmScene.create({ storage });
      const pulls = await Pulls.start(scene, large);
      await pulls.succeed(ONCE);
    }));

  it('takes 200 MiB from the registry once if the nodes start one after the other, over 10 s', () =>
    inOneOfThreeGoes(async () => {
      const { storage, large } = lab();
      await using scene = await SwarmScene.create({ storage });
      const pulls = await Pulls.start(scene, large, { gap: GAP });
      await pulls.succeed(ONCE);
    }));

  it('gives an image to a node that pulls it by tag after the registry is gone', () =>
    inOneOfThreeGoes(async () => {
      const { storage, small } = lab();
      await using scene = await SwarmScene.create({ storage });
      const [late, ...early] = scene.nodes;
      if (late === undefined) throw new Error('a scene has nodes');
      await (await Pulls.start(scene, small, { nodes: early })).succeed(ONCE);
      await scene.registry.stop();
      const pulls = await Pulls.start(scene, small, { nodes: [late] });
      await pulls.succeed(0.001);
    }));
});
