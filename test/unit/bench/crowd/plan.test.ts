import assert from 'node:assert/strict';
import { parseRate } from '../../../../bench/crowd/options.ts';
import { isWaitedFor, lowerBound, planNodes, type NodePlan } from '../../../../bench/crowd/plan.ts';
import { IMAGE, SECONDS_ON_LINK, settingsOf } from './settings.ts';

const picked = (plan: readonly NodePlan[], is: (node: NodePlan) => boolean): readonly string[] =>
  plan.filter((node) => is(node)).map(({ name }) => name);
const dies = (node: NodePlan): boolean => node.dies !== undefined;
const isSlow = (node: NodePlan): boolean => node.isSlow;

describe('bench/crowd/plan', () => {
  it('is the same for the same seed, and another for another', () => {
    const settings = settingsOf({ kill: 0.25, slow: 0.25, start: { kind: 'jitter', within: 2000 } });
    assert.deepEqual(planNodes(settings, IMAGE, 7), planNodes(settings, IMAGE, 7));
    const [some, others] = [planNodes(settings, IMAGE, 7), planNodes(settings, IMAGE, 8)];
    assert.notDeepEqual(picked(some, dies), picked(others, dies));
    assert.notDeepEqual(picked(some, isSlow), picked(others, isSlow));
  });

  it('kills and slows the given number of nodes, never the same node', () => {
    const plan = planNodes(settingsOf({ kill: 0.1, slow: 0.25 }), IMAGE, 1);
    assert.equal(picked(plan, dies).length, 2);
    assert.equal(picked(plan, isSlow).length, 5);
    assert.deepEqual(
      picked(plan, (node) => dies(node) && isSlow(node)),
      [],
    );
    assert.equal(plan.filter((node) => isWaitedFor(node)).length, 13);
  });

  it('lets nodes die before they can have the whole image', () => {
    for (const { dies: at } of planNodes(settingsOf({ kill: 1 }), IMAGE, 1)) {
      assert.ok(at !== undefined && at > 0 && at < SECONDS_ON_LINK * 1000, `${at} ms`);
    }
  });

  it('begins all pulls at once, within a time, or in waves', () => {
    const once = planNodes(settingsOf(), IMAGE, 1);
    assert.ok(once.every(({ wave, delay }) => wave === 0 && delay === 0));
    const spread = planNodes(settingsOf({ start: { kind: 'jitter', within: 2000 } }), IMAGE, 1);
    assert.ok(spread.every(({ delay }) => delay >= 0 && delay < 2000));
    assert.equal(new Set(spread.map(({ delay }) => delay)).size, 20);
    const waves = planNodes(settingsOf({ start: { kind: 'rolling', share: 0.2 } }), IMAGE, 1);
    assert.deepEqual(
      [0, 1, 2, 3, 4].map((wave) => waves.filter((node) => node.wave === wave).length),
      [4, 4, 4, 4, 4],
    );
  });

  it('spreads nodes over the zones, and names no zone if there is one', () => {
    const zones = planNodes(settingsOf({ nodes: 5, zones: 3 }), IMAGE, 1).map(({ zone }) => zone);
    assert.deepEqual(zones, ['zone-1', 'zone-2', 'zone-3', 'zone-1', 'zone-2']);
    assert.ok(planNodes(settingsOf(), IMAGE, 1).every(({ zone }) => zone === ''));
  });
});

describe('bench/crowd/plan, the lower bound', () => {
  const boundOf = (changes: Parameters<typeof settingsOf>[0]): number => {
    const settings = settingsOf(changes);
    return lowerBound(settings, IMAGE, planNodes(settings, IMAGE, 1));
  };
  const close = (actual: number, expected: number): void =>
    assert.ok(Math.abs(actual - expected) < 1e-9, `${actual} is not ${expected}`);

  it('is the slower of the registry and the link', () => {
    close(boundOf({}), SECONDS_ON_LINK);
    close(boundOf({ registry: parseRate('200mbit') }), SECONDS_ON_LINK);
    close(boundOf({ registry: parseRate('10mbit') }), 2 * SECONDS_ON_LINK);
    close(boundOf({ link: parseRate('10mbit') }), 2 * SECONDS_ON_LINK);
  });

  it('counts the last node to begin, but no slow or dying one', () => {
    const settings = settingsOf({ nodes: 3 });
    const node: NodePlan = { name: 'a', zone: '', wave: 0, delay: 0, isSlow: false, dies: undefined };
    close(lowerBound(settings, IMAGE, [node, { ...node, delay: 1500 }]), 1.5 + SECONDS_ON_LINK);
    close(lowerBound(settings, IMAGE, [node, { ...node, delay: 1500, isSlow: true }]), SECONDS_ON_LINK);
    close(lowerBound(settings, IMAGE, [node, { ...node, delay: 1500, dies: 100 }]), SECONDS_ON_LINK);
  });

  it('gives each further wave the time of its links', () => {
    const rolling = { kind: 'rolling', share: 0.2 } as const;
    close(boundOf({ start: rolling }), 5 * SECONDS_ON_LINK);
    close(boundOf({ start: rolling, registry: parseRate('10mbit') }), (2 + 4) * SECONDS_ON_LINK);
  });
});
