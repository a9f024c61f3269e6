import assert from 'node:assert/strict';
import { busyShare, parseCpuTimes, stolenShare } from '../../../../bench/support/cpu-share.ts';

describe('bench/support/cpu-share', () => {
  it('reads the first line of /proc/stat, without counting guest time twice', () => {
    const times = parseCpuTimes('cpu  100 1 50 800 9 0 20 20 7 7\ncpu0 1 2 3 4 5 6 7 8 9 10\n');
    assert.deepEqual(times, { total: 1000, idle: 809, stolen: 20 });
  });

  it('tells the share of stolen time', () => {
    const before = { total: 1000, idle: 800, stolen: 20 };
    assert.equal(stolenShare(before, { total: 1200, idle: 900, stolen: 70 }), 0.25);
    assert.equal(stolenShare(before, before), 0);
  });

  it('tells the share of busy and stolen time', () => {
    const before = { total: 1000, idle: 800, stolen: 20 };
    assert.equal(busyShare(before, { total: 1200, idle: 950, stolen: 70 }), 0.25);
    assert.equal(busyShare(before, before), 0);
  });
});
