import assert from 'node:assert/strict';
import { AloneWatch, REASONS, WARN_AGAIN, WARN_OTHER_REASON } from '../../../src/daemon/alone-watch.ts';
import {
  BOOTSTRAP_REASONS,
  type BootstrapProblem,
  type BootstrapReason,
} from '../../../src/network/bootstrap-problems.ts';
import { SECOND } from '../../../src/util/clock.ts';
import { VirtualClock } from '../network/virtual-clock.ts';

const AFTER = 30 * SECOND;
/** Milliseconds: a look is late by this at most. */
const LATE = 2 * SECOND;

const problemOf = (reason: BootstrapReason): BootstrapProblem => ({
  reason,
  at: 'weir.example:4772',
  message: 'ENOTFOUND',
});

interface Scene {
  members: number;
  problem: BootstrapProblem | undefined;
}

function watchOf(scene: Scene) {
  const clock = new VirtualClock();
  const said: string[] = [];
  const reasons: (string | undefined)[] = [];
  const watch = new AloneWatch({
    clock,
    logger: {
      info: (_, message) => said.push(`info ${message}`),
      warn: (_, message) => said.push(`warn ${message}`),
    },
    after: AFTER,
    members: () => scene.members,
    problem: () => scene.problem,
    onChange: (reason) => reasons.push(reason),
  });
  return { clock, said, reasons, watch, [Symbol.dispose]: () => watch[Symbol.dispose]() };
}

describe('AloneWatch', () => {
  it('says once after the time that this node is alone, why, and what to do', async () => {
    using at = watchOf({ members: 1, problem: problemOf('unresolved') });
    await at.clock.advance(AFTER - 1);
    assert.deepEqual([at.said, at.watch.state], [[], undefined]);
    await at.clock.advance(LATE);
    assert.deepEqual(at.said, [
      'warn this node is alone and pulls without peers: weir.example:4772: the name does not resolve; ' +
        'correct cluster.bootstrap, or the DNS of this machine',
    ]);
    assert.deepEqual(at.reasons, ['unresolved']);
    const { reason, seconds, cure } = at.watch.state ?? assert.fail();
    assert.deepEqual([reason, cure], ['unresolved', REASONS.unresolved.cure]);
    assert.ok(seconds >= 30 && seconds < 33, `${seconds} s`);
    await at.clock.advance(WARN_AGAIN - 2 * LATE);
    assert.equal(at.said.length, 1);
  });

  it('says it again every ten minutes while it lasts', async () => {
    using at = watchOf({ members: 1, problem: problemOf('refused') });
    await at.clock.advance(AFTER + 3 * WARN_AGAIN + 4 * LATE);
    assert.equal(at.said.length, 4);
    assert.deepEqual(at.reasons, ['refused']);
  });

  it('says one line when it is over, and counts anew when it comes back', async () => {
    const scene: Scene = { members: 1, problem: problemOf('timeout') };
    using at = watchOf(scene);
    await at.clock.advance(AFTER + LATE);
    scene.members = 2;
    await at.clock.advance(2 * LATE);
    assert.equal(at.said.at(-1), 'info another member was found: this node is no longer alone');
    assert.deepEqual([at.watch.state, at.reasons], [undefined, ['timeout', undefined]]);
    scene.members = 1;
    await at.clock.advance(AFTER - LATE);
    assert.equal(at.said.length, 2);
    await at.clock.advance(2 * LATE);
    assert.equal(at.said.length, 3);
  });

  it('says nothing of a cluster of one node, whose name leads to itself', async () => {
    const scene: Scene = { members: 1, problem: undefined };
    using at = watchOf(scene);
    await at.clock.advance(10 * WARN_AGAIN);
    assert.deepEqual([at.said, at.reasons], [[], []]);
    scene.problem = problemOf('timeout'); // the address of a pod that is gone
    await at.clock.advance(LATE);
    scene.problem = undefined;
    await at.clock.advance(LATE);
    assert.equal(at.said.at(-1), 'info cluster.bootstrap leads to this node alone: a cluster of one');
  });

  it('says nothing of a node that finds others in time, or loses them for a moment', async () => {
    const scene: Scene = { members: 1, problem: problemOf('refused') };
    using at = watchOf(scene);
    for (let turn = 0; turn < 20; turn += 1) {
      await at.clock.advance(AFTER - LATE);
      scene.members = 2;
      await at.clock.advance(LATE);
      scene.members = 1;
    }
    assert.deepEqual(at.said, []);
  });

  it('says another reason sooner, but not with each look', async () => {
    const scene: Scene = { members: 1, problem: problemOf('unresolved') };
    using at = watchOf(scene);
    await at.clock.advance(AFTER + LATE);
    for (let turn = 0; turn < 10; turn += 1) {
      scene.problem = problemOf(turn % 2 === 0 ? 'cluster-key' : 'timeout');
      await at.clock.advance(WARN_OTHER_REASON / 10);
    }
    assert.ok(at.said.length <= 2, at.said.join('\n'));
    scene.problem = problemOf('cluster-key');
    await at.clock.advance(WARN_OTHER_REASON + LATE);
    assert.match(at.said.at(-1) ?? '', /another cluster key; give all nodes the same file/);
  });

  it('has a meaning and a cure for each reason', () => {
    assert.deepEqual(Object.keys(REASONS).toSorted(), [...BOOTSTRAP_REASONS].toSorted());
  });
});
