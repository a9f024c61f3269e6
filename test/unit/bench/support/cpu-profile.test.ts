import assert from 'node:assert/strict';
import { summarize, type CpuProfile } from '../../../../bench/support/cpu-profile.ts';

const ROOT = 'file:///weir/';

function node(id: number, functionName: string, url = '', lineNumber = -1): CpuProfile['nodes'][number] {
  return { id, callFrame: { functionName, url, lineNumber } };
}

describe('bench/support/cpu-profile', () => {
  const profile: CpuProfile = {
    nodes: [
      node(1, '(idle)'),
      node(2, 'pump', `${ROOT}src/http/body.ts`, 66),
      node(3, 'update'),
      node(4, 'pump', `${ROOT}src/http/body.ts`, 66), // the same function, called from elsewhere
      node(5, '', 'node:net', 9),
    ],
    samples: [2, 1, 3, 4, 5, 3],
    timeDeltas: [1000, 9000, 2000, 500, -20, 1500],
  };

  it('adds up the time of a function over all its callers, without idle time', () => {
    const { busyMilliseconds, idleMilliseconds, top } = summarize(profile, ROOT, 15);
    assert.equal(busyMilliseconds, 5);
    assert.equal(idleMilliseconds, 9);
    assert.deepEqual(top, [
      { name: 'update', place: '', milliseconds: 3.5, share: 0.7 },
      { name: 'pump', place: 'src/http/body.ts:67', milliseconds: 1.5, share: 0.3 },
      { name: '(anonymous)', place: 'node:net:10', milliseconds: 0, share: 0 },
    ]);
  });

  it('shows at most the given number of functions', () => {
    assert.equal(summarize(profile, ROOT, 1).top.length, 1);
  });
});
