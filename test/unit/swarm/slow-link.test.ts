/** One of five nodes has a tenth of the link: it must not hold the four others up. */
import assert from 'node:assert/strict';
import { MIB, SECOND } from '../../../src/util/clock.ts';
import { namedSwarm } from '../../simulator/names.ts';
import { World } from '../../simulator/world.ts';

const swarm = namedSwarm('layer');
const SIZE = 20 * MIB;
/** 50 Mbit/s. */
const LINK = 6_250;
const LIMIT = 120 * SECOND;

/** Milliseconds until the four have 20 MiB; `share` is the part of the link that the fifth has. */
function timeOfFour(members: number, share: number, seed: number): number {
  const step = members / 5;
  const speed = (index: number): number => (index === 4 * step ? share : 1);
  const world = new World({ nodes: members, link: LINK, registry: LINK, speed, seed });
  const five = world.nodes.filter((_, index) => index % step === 0);
  for (const node of five) world.pull(node, swarm, SIZE);
  const four = five.slice(0, 4);
  world.time.run(() => four.every(({ kept }) => kept.has(swarm.digest)), LIMIT);
  assert.ok(world.registry.bytes <= 1.15 * SIZE, `${world.registry.bytes / SIZE} with seed ${seed}`);
  return world.time.now;
}

describe('One node on a slow link holds the others up little', () => {
  for (const members of [5, 100]) {
    it(members === 5 ? 'if it owns chunks' : 'if it has claims at owners that do not pull', () => {
      const ratios = [1, 2, 3, 4, 5, 6].map(
        (seed) => timeOfFour(members, 0.1, seed) / timeOfFour(members, 1, seed),
      );
      const mean = ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length;
      assert.ok(mean < 1.5, String(ratios));
    });
  }
});
