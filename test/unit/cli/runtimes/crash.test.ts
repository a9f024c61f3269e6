/** `weir host` that is killed at any point, and two of them at a time: files are whole, and what was there comes back. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { SECOND } from '../../../../src/util/clock.ts';
import { isWeirError } from '../../../../src/util/errors.ts';
import { HostFiles } from '../../../../src/host/host-files.ts';
import { lockHost } from '../../../../src/cli/runtimes/host-lock.ts';
import { STATE_FOLDER } from '../../../../src/host/original-files.ts';
import { run, Program } from '../../../support/program.ts';
import { Machine, PATHS } from './fixture.ts';

const CHILD = join(import.meta.dirname, 'crash-child.ts');
const DAEMON_JSON = '{\n    "debug": true\n}';
const HOSTS = '# ours\n[host."https://mirror.corp"]\n';

const machine = async (): Promise<Machine> =>
  Machine.create({
    [PATHS.containerdConfig]: 'version = 3\n',
    [PATHS.hosts]: HOSTS,
    [PATHS.docker]: DAEMON_JSON,
  });

/** @returns whether it came to its end before the `step`th change of the disk */
async function killedAt(step: number, command: 'configure' | 'restore', on: Machine): Promise<boolean> {
  const { stdout, stderr, signal } = await run(process.execPath, [
    CHILD,
    on.path('/'),
    command,
    String(step),
  ]);
  assert.ok(signal === 'SIGKILL' || stdout === 'done\n', stderr);
  return signal !== 'SIGKILL';
}

describe('weir host, killed', function () {
  this.timeout(120 * SECOND);

  it('during configure: each file has its old or new text, and restore gives back the original', async () => {
    await using whole = await machine();
    const before = await whole.snapshot();
    assert.ok(await killedAt(1_000, 'configure', whole));
    const after = await whole.snapshot();
    let step = 0;
    for (let ended = false; !ended; step += 1) {
      await using cut = await machine();
      ended = await killedAt(step, 'configure', cut);
      const left = await cut.snapshot();
      for (const path of [PATHS.hosts, PATHS.docker, PATHS.hosts.replace('_default', 'ghcr.io')]) {
        assert.ok([before[path], after[path]].includes(left[path]), `step ${step}: ${path} is ${left[path]}`);
      }
      await cut.restore();
      assert.deepEqual(await cut.snapshot(), before, `step ${step}`);
    }
    assert.ok(step > 20, `${step} steps`);
  });

  it('during configure: the next configure completes', async () => {
    for (const step of [2, 5, 8, 11, 14]) {
      await using cut = await machine();
      const before = await cut.snapshot();
      assert.equal(await killedAt(step, 'configure', cut), false);
      await cut.configure();
      assert.match(await cut.read(PATHS.docker), /4770/);
      await cut.restore();
      assert.deepEqual(await cut.snapshot(), before, `step ${step}`);
    }
  });

  it('during restore: the next restore completes', async () => {
    let step = 0;
    for (let ended = false; !ended; step += 1) {
      await using cut = await machine();
      const before = await cut.snapshot();
      await cut.configure();
      ended = await killedAt(step, 'restore', cut);
      await cut.restore();
      assert.deepEqual(await cut.snapshot(), before, `step ${step}`);
    }
    assert.ok(step > 5, `${step} steps`);
  });
});

describe('weir host, several at one time', function () {
  this.timeout(60 * SECOND);

  it('wait for each other, as processes and as calls of one process', async () => {
    await using shared = await machine();
    const before = await shared.snapshot();
    const processes = [0, 1, 2, 3].map(async () => killedAt(1_000, 'configure', shared));
    const calls = [4770, 4999].map(async (port) =>
      shared.configure({ mirrorUrl: `http://127.0.0.1:${port}` }),
    );
    assert.deepEqual(await Promise.all(processes), [true, true, true, true]);
    await Promise.all(calls);
    await Promise.all([shared.restore(), killedAt(1_000, 'restore', shared)]);
    assert.deepEqual(await shared.snapshot(), before);
  });

  it('wait for a limited time, and name the lock', async () => {
    await using held = await machine();
    const files = new HostFiles(held.path('/'));
    const holder = await lockHost(files, STATE_FOLDER);
    await assert.rejects(
      lockHost(files, STATE_FOLDER, 100),
      (error) =>
        isWeirError(error, 'runtime_config') &&
        error.message.startsWith('/var/lib/weir-host/.lock is held by another "weir host"'),
    );
    await holder[Symbol.asyncDispose]();
    await using _next = await lockHost(files, STATE_FOLDER, 0);
  });

  it('do not wait for a killed one', async () => {
    await using left = await machine();
    const script = `const { HostFiles } = await import('${import.meta.dirname}/../../../../src/host/host-files.ts');
      const { lockHost } = await import('${import.meta.dirname}/../../../../src/cli/runtimes/host-lock.ts');
      await lockHost(new HostFiles('${left.path('/')}'), '${STATE_FOLDER}'); console.log('locked'); setInterval(() => {}, 1e9);`;
    const program = await Program.start({
      command: process.execPath,
      args: ['--input-type=module', '-e', script],
    });
    await program.line(/locked/);
    const configured = left.configure();
    await program.stop('SIGKILL');
    assert.equal((await configured).changed, 2);
  });
});
