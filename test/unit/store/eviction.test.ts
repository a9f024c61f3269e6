import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { planEviction, planShrink } from '../../../src/store/eviction.ts';

describe('planEviction', () => {
  const candidate = fc.record({ bytes: fc.nat(1000), lastUsed: fc.nat(100), pinned: fc.boolean() });

  it('frees enough, oldest first, never a pinned blob, and evicts nothing in vain', () => {
    fc.assert(
      fc.property(fc.array(candidate), fc.integer({ min: -10, max: 5000 }), (items, need) => {
        const candidates = items.map((item, key) => ({ key, ...item }));
        const plan = planEviction(candidates, need);
        const free = candidates.filter(({ pinned }) => !pinned);
        const total = free.reduce((sum, { bytes }) => sum + bytes, 0);
        const shrunk = planShrink(candidates, need);
        if (plan === undefined) {
          assert.ok(total < need);
          assert.equal(shrunk.freed, total, 'the other plan takes what there is');
          return assert.equal(shrunk.keys.length, free.length);
        }
        assert.deepEqual(shrunk.keys, plan);
        const chosen = plan.map((key) => candidates[key] ?? assert.fail());
        assert.ok(chosen.every(({ pinned }) => !pinned));
        assert.ok(chosen.reduce((sum, { bytes }) => sum + bytes, 0) >= need);
        assert.ok(chosen.slice(0, -1).reduce((sum, { bytes }) => sum + bytes, 0) < Math.max(need, 1));
        const youngest = Math.max(-1, ...chosen.map(({ lastUsed }) => lastUsed));
        const spared = free.filter(({ key }) => !plan.includes(key));
        return assert.ok(spared.every(({ lastUsed }) => lastUsed >= youngest));
      }),
    );
  });
});
