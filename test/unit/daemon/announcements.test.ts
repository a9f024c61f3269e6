/** The time at which blobs are announced to the DHT. */
import assert from 'node:assert/strict';
import { mock } from 'node:test';
import { systemClock } from '../../../src/util/clock.ts';
import { Announcements } from '../../../src/daemon/announcements.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';

describe('Announcements', () => {
  const digest = digestOf(Buffer.from('a'));
  let log: string[];
  let announcements: Announcements;

  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout'] });
    log = [];
    const queue = {
      provide: (each: Digest) => void log.push(`provide ${each.slice(7, 11)}`),
      withdraw: (each: Digest) => void log.push(`withdraw ${each.slice(7, 11)}`),
    };
    announcements = new Announcements({
      queue,
      clock: { ...systemClock, random: () => 0.5 },
      members: () => 10,
    });
  });

  afterEach(() => {
    announcements[Symbol.dispose]();
    mock.timers.reset();
  });

  it('wait longer in a larger cluster', () => {
    announcements.add(digest);
    announcements.add(digest);
    mock.timers.tick(24_999);
    assert.deepEqual(log, []);
    assert.equal(announcements.waiting, 1);
    mock.timers.tick(1);
    assert.deepEqual(log, ['provide ca97']);
  });

  it('are not made for a blob that is gone, and withdrawn for an announced one', () => {
    announcements.add(digest);
    announcements.remove(digest);
    mock.timers.tick(100_000);
    assert.deepEqual(log, []);
    announcements.remove(digest);
    assert.deepEqual(log, ['withdraw ca97']);
  });
});
