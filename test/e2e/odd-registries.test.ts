/** A sample of `make test-registries`, for which this test says that nothing fails; times are a matter of that command. */
import assert from 'node:assert/strict';
import { MINUTE } from '../../src/util/clock.ts';
import { compareAll } from '../registries/compare.ts';

describe('Pulls from odd registries', function () {
  this.timeout(5 * MINUTE);

  it('pass through Weir where they pass directly, with the same image', async () => {
    const options = { isShrunk: false, allowance: MINUTE, found: console.log };
    const { problems, cases, failDirectly, pastMirror } = await compareAll(1, 120, options);
    assert.deepEqual(problems, []);
    assert.ok(failDirectly < cases / 4, `${failDirectly} fail directly`);
    assert.ok(pastMirror < cases / 10, `${pastMirror} go past the mirror`);
  });
});
