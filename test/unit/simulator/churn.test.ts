/** Churn in virtual time: what it finds is asserted, never how long anything took on this machine. */
import assert from 'node:assert/strict';
import { MINUTE, SECOND } from '../../../src/util/clock.ts';
import { CHURN_DEFAULTS } from '../../../bench/churn/options.ts';
import { simulateChurn, verdictOf, type SimulatedChurn } from '../../../bench/simulate/churn.ts';

const go = (seed: number): SimulatedChurn =>
  simulateChurn(
    { ...CHURN_DEFAULTS, nodes: 8, for: 12 * MINUTE, seed },
    { link: 125_000, registry: 125_000, joinDelay: 500 },
  );

describe('Simulated churn', function () {
  this.timeout(60 * SECOND);
  const churn = go(1);

  it('completes each pull whose node stays', () => {
    assert.deepEqual(churn.failures, []);
    assert.ok(churn.pulls.length > 500 && churn.leaves > 20 && churn.kills > 5);
  });

  it('bounds stores by the quota, and connections and remembered entries too', () => {
    for (const [, bytes] of churn.series.store) assert.ok(bytes <= CHURN_DEFAULTS.quota);
    assert.equal(churn.trends.store.verdict, 'steady');
    assert.equal(churn.trends.connections.verdict, 'steady');
    assert.match(verdictOf(churn), /^verdict: /);
  });

  it('does not wait for peers that gave a blob up: few pulls exceed one time limit', () => {
    const slow = churn.pulls.filter((seconds) => seconds > 3);
    assert.ok(slow.length <= churn.pulls.length / 100, `${slow.length} of ${churn.pulls.length}`);
  });

  it('takes the same course with the same seed', () => {
    assert.equal(JSON.stringify(go(1)), JSON.stringify(churn));
    assert.notEqual(JSON.stringify(go(2)), JSON.stringify(churn));
  });
});
