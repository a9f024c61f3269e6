import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmod, writeFile } from 'node:fs/promises';
import { workerCount } from '../../../src/daemon/workers.ts';
import { TempDir } from '../../support/temp.ts';

describe('the number of byte workers', () => {
  it('leaves a core to the main thread, and is 1 to 4', () => {
    assert.deepEqual(
      [1, 2, 3, 5, 64].map((cores) => workerCount('auto', cores)),
      [1, 1, 2, 4, 4],
    );
    assert.equal(workerCount(7, 2), 7);
  });

  it('counts a CPU quota of the cgroup as cores', async function () {
    if (process.getuid?.() !== 0) this.skip(); // only root may mount a cgroup of its own
    await using temp = await TempDir.create('cgroup');
    // A mount namespace in which this process is in a cgroup with a quota of one core, as in a container with a CPU limit.
    const script = temp.join('enter.sh');
    const cgroup = '/sys/fs/cgroup/pod';
    const lines = [
      'set -e',
      'mount --make-rprivate /',
      'mount -t tmpfs none /sys/fs/cgroup',
      `mkdir ${cgroup}`,
      `echo "100000 100000" > ${cgroup}/cpu.max`,
      `echo cpu | tee ${cgroup}/cgroup.controllers > /sys/fs/cgroup/cgroup.controllers`,
      `echo "0::/pod" > ${temp.join('cgroup')}`,
      `mount --bind ${temp.join('cgroup')} /proc/$$/cgroup`,
      'exec "$@"',
    ];
    await writeFile(script, lines.join('\n'));
    await chmod(script, 0o700);
    const code = 'process.stdout.write(String(os.availableParallelism()))';
    const { stdout, stderr } = spawnSync('unshare', ['-m', 'sh', script, process.execPath, '-e', code]);
    assert.equal(stdout.toString(), '1', stderr.toString());
  });
});
