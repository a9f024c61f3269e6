import assert from 'node:assert/strict';
import {
  groupOf,
  groupSeconds,
  mainThreadSeconds,
  parseSchedstat,
  threadTimes,
} from '../../../../bench/support/threads.ts';

const PID = 100;

describe('bench/support/threads', () => {
  it('reads CPU seconds, the first of three numbers', () => {
    assert.equal(parseSchedstat('38832211000 25709412 89\n'), 38.832211);
    assert.throws(() => parseSchedstat('\n'), /no schedstat/);
    assert.throws(() => parseSchedstat('1.5 2 3\n'), /no schedstat/);
  });

  it('groups threads as Node.js names them, and workers by their name without a number', () => {
    const group = (name: string, id = 101): string => groupOf({ id, name }, PID);
    assert.equal(group('node-MainThread', PID), 'main');
    assert.equal(group('libuv-worker'), 'libuv pool');
    assert.equal(group('node-V8Worker'), 'V8');
    assert.equal(group('DelayedTaskSche'), 'V8');
    assert.equal(group('WorkerThread'), 'WorkerThread');
    assert.equal(group('data 1'), 'data');
    assert.equal(group('data-12'), 'data');
    assert.equal(group('7'), '7');
  });

  it('sums what each group used, counts new threads whole, and leaves out those that ended', () => {
    const before = [
      { id: PID, name: 'node-MainThread', seconds: 2 },
      { id: 101, name: 'libuv-worker', seconds: 1 },
      { id: 102, name: 'WorkerThread', seconds: 9 },
    ];
    const after = [
      { id: PID, name: 'node-MainThread', seconds: 5 },
      { id: 101, name: 'libuv-worker', seconds: 1.5 },
      { id: 103, name: 'libuv-worker', seconds: 0.25 },
    ];
    assert.deepEqual(groupSeconds(PID, before, after), { main: 3, 'libuv pool': 0.75 });
  });

  it('tells the main thread of this process apart', async () => {
    const main = await mainThreadSeconds(process.pid);
    const times = await threadTimes(process.pid);
    const own = times.find(({ id }) => id === process.pid);
    assert.ok(own !== undefined && own.seconds >= main && main > 0);
    assert.ok('V8' in groupSeconds(process.pid, [], times), 'the threads of V8 have their names');
  });
});
