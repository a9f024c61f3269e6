import assert from 'node:assert/strict';
import { parseCpuTimes, stolenShare } from '../../../../bench/support/cpu-share.ts';

describe('bench/support/cpu-share', () => {
  it('reads the first line of /proc/stat, guest time not counted twice', () => {
    const times = parseCpuTimes('cpu  100 1 50 800 9 0 20 20 7 7\ncpu0 1 2 3 4 5 6 7 8 9 10\n');
    assert.deepEqual(times, { total: 1000, stolen: 20 });
  });

  it('tells the share that the hypervisor took', () => {
    assert.equal(stolenShare({ total: 1000, stolen: 20 }, { total: 1200, stolen: 70 }), 0.25);
    assert.equal(stolenShare({ total: 1000, stolen: 20 }, { total: 1000, stolen: 20 }), 0);
  });
});
