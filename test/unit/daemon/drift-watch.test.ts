import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { watchDrift } from '../../../src/daemon/drift-watch.ts';
import type { HostComparison } from '../../../src/host/drift.ts';
import { STATE_FOLDER } from '../../../src/host/original-files.ts';
import { HOUR, MINUTE } from '../../../src/util/clock.ts';
import { eventually } from '../../support/eventually.ts';
import { Machine, PATHS } from '../cli/runtimes/fixture.ts';
import { VirtualClock } from '../network/virtual-clock.ts';

/** Looks are up to a fifth late. */
const LATE = 1.2;

/** A machine with Docker, configured; and a watch on it. */
async function scene(configured = true) {
  const stack = new AsyncDisposableStack();
  const machine = stack.use(await Machine.create({ [PATHS.docker]: '{}\n' }));
  if (configured) await machine.configure({}, ['docker', 'containerd']);
  const clock = new VirtualClock();
  const said: string[] = [];
  const compared: (HostComparison | undefined)[] = [];
  stack.use(
    watchDrift({
      clock,
      logger: {
        info: (_, message) => said.push(`info ${message}`),
        warn: (_, message) => said.push(`warn ${message}`),
        debug: (_, message) => said.push(`debug ${message}`),
      },
      root: machine.path('/'),
      onCompared: (comparison) => compared.push(comparison),
    }),
  );
  /** Moves on to the next comparison. */
  const next = async (ms: number): Promise<HostComparison | undefined> => {
    const before = compared.length;
    await clock.advance(ms * LATE);
    await eventually(() => assert.ok(compared.length > before));
    return compared.at(-1);
  };
  return { machine, clock, said, compared, next, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

describe('watchDrift', () => {
  it('compares a minute after the start, and says nothing if all is in place', async () => {
    await using at = await scene();
    await at.clock.advance(MINUTE / 2);
    assert.deepEqual(at.compared, []);
    const comparison = await at.next(MINUTE);
    assert.deepEqual(comparison?.drifted, []);
    assert.ok((comparison?.placed ?? 0) >= 2, `${comparison?.placed} files`);
    assert.deepEqual(at.said, []);
  });

  it('names a file that was written anew, once, and says when it is over', async () => {
    await using at = await scene();
    await at.next(MINUTE);
    await at.machine.write(PATHS.docker, '{"debug": true}\n');
    const comparison = await at.next(HOUR);
    assert.deepEqual(comparison?.drifted, [{ path: PATHS.docker, runtime: 'docker' }]);
    assert.deepEqual(at.said, [
      'warn what "weir host configure" wrote is gone from /etc/docker/daemon.json: pulls of docker go past Weir; ' +
        'run "weir host configure" again (in Kubernetes: delete the pod of this node)',
    ]);
    await at.next(HOUR);
    assert.equal(at.said.length, 1);
    await at.machine.configure({}, ['docker', 'containerd']);
    assert.deepEqual((await at.next(HOUR))?.drifted, []);
    assert.deepEqual(at.said.slice(1), [
      'info the files of the runtimes are again as "weir host configure" wrote them',
    ]);
  });

  it('names a file that is gone, but none of a runtime that is gone', async () => {
    await using at = await scene();
    await rm(at.machine.path(PATHS.hosts));
    assert.deepEqual((await at.next(MINUTE))?.drifted, [{ path: PATHS.hosts, runtime: 'containerd' }]);
    await rm(at.machine.path('/etc'), { recursive: true });
    assert.deepEqual((await at.next(HOUR))?.drifted, []);
  });

  it('takes an edit by hand that leaves the mirror in place for no drift', async () => {
    await using at = await scene();
    const text = await at.machine.read(PATHS.docker);
    await at.machine.write(PATHS.docker, text.replace('{', '{"debug": true,'));
    assert.deepEqual((await at.next(MINUTE))?.drifted, []);
  });

  it('says nothing if nothing was configured, or the records cannot be read', async () => {
    await using bare = await scene(false);
    assert.equal(await bare.next(MINUTE), undefined);
    await using at = await scene();
    await rm(at.machine.path(STATE_FOLDER), { recursive: true });
    await at.machine.write(`${STATE_FOLDER}/etc-x.json`, 'not a record');
    await at.machine.write(PATHS.docker, '{}\n');
    assert.equal(await at.next(MINUTE), undefined);
    assert.deepEqual([...bare.said, ...at.said], []);
  });
});
