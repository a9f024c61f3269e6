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

describe('bench/simulate/churn', function () {
  this.timeout(60 * SECOND);
  const churn = go(1);

  it('loses no pull but those whose node has left', () => {
    assert.deepEqual(churn.failures, []);
    assert.ok(churn.pulls.length > 500 && churn.leaves > 20 && churn.kills > 5);
  });

  it('keeps stores within the quota, and connections and what is remembered within bounds', () => {
    for (const [, bytes] of churn.series.store) assert.ok(bytes <= CHURN_DEFAULTS.quota);
    assert.equal(churn.trends.store.verdict, 'steady');
    assert.equal(churn.trends.connections.verdict, 'steady');
    assert.match(verdictOf(churn), /^verdict: /);
  });

  it('waits for nobody who has given a blob up: few pulls take longer than one time limit', () => {
    const slow = churn.pulls.filter((seconds) => seconds > 3);
    assert.ok(slow.length <= churn.pulls.length / 100, `${slow.length} of ${churn.pulls.length}`);
  });

  it('takes the same course from the same seed', () => {
    assert.equal(JSON.stringify(go(1)), JSON.stringify(churn));
    assert.notEqual(JSON.stringify(go(2)), JSON.stringify(churn));
  });
});
