import assert from 'node:assert/strict';
import { MIB, SECOND } from '../../../src/util/clock.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { parseRegistryHost } from '../../../src/oci/repository.ts';
import { World } from '../../simulator/world.ts';

const SIZE = 64 * MIB;
const swarm = { registry: parseRegistryHost('registry.test'), digest: digestOf(Buffer.from('blob')) };

/** All nodes pull at once. @returns bytes that left the registry, in blobs */
function pulled(nodes: number): number {
  const world = new World({ nodes });
  world.registry.sendsWhole = true;
  for (const node of world.nodes) world.pull(node, swarm, SIZE);
  world.time.run(() => world.nodes.every(({ kept }) => kept.has(swarm.digest)), 120 * SECOND);
  for (const { kept, member } of world.nodes) assert.ok(kept.has(swarm.digest), member.name);
  return world.registry.bytes / SIZE;
}

describe('A registry that answers each part of a blob with the whole', () => {
  it('is asked once for all', () => {
    const share = pulled(12);
    assert.ok(share < 1.1, String(share));
  });

  it('is asked once by a node alone', () => {
    assert.equal(pulled(1), 1);
  });
});
