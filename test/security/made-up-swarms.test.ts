/** A member announces thousands of made-up swarms. The tracker keeps the entries of other members. */
import assert from 'node:assert/strict';
import { MINUTE } from '../../src/util/clock.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { parseRegistryHost } from '../../src/oci/repository.ts';
import type { SwarmKey } from '../../src/protocol/messages.ts';
import { EvilScene } from '../support/evil-scene.ts';
import { until } from '../support/test-network.ts';

const MADE_UP = 4000;
/** Messages that may wait for a peer; with one more all of them are lost. */
const AT_ONCE = 200;

const swarmOf = (name: string): SwarmKey => ({
  registry: parseRegistryHost('registry.test'),
  digest: digestOf(Buffer.from(name)),
});

describe('made-up swarms', function () {
  this.timeout(MINUTE);

  it('do not make a tracker forget the members of other swarms', async () => {
    await using scene = await EvilScene.start();
    const { evil, honest } = scene;
    const [victim, other] = honest;
    const { swarms } = victim.cluster;
    for (let i = 0; i < 20; i++) {
      swarms.message(other.peer, {
        kind: 'announce',
        swarm: swarmOf(`honest ${i}`),
        size: 1000,
        complete: true,
      });
    }
    evil.messages.length = 0;
    for (let i = 0; i < MADE_UP; i++) {
      evil.say(victim.peer, {
        kind: 'announce',
        swarm: swarmOf(`made up ${i}`),
        size: 1000,
        complete: false,
      });
      if (i % AT_ONCE < AT_ONCE - 1) continue;
      // Each is answered: the next ones are sent when these answers have come.
      await until('they have come', () => evil.messages.filter(({ kind }) => kind === 'peers').length >= i);
    }
    for (let i = 0; i < 20; i++) {
      assert.deepEqual(swarms.holders(swarmOf(`honest ${i}`), evil.peer), [other.peer]);
    }
  });
});
