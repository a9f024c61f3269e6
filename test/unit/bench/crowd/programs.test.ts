import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { startProgram, versionIn } from '../../../../bench/crowd/systems/programs.ts';
import { TempDir } from '../../../support/temp.ts';

describe('bench/crowd/systems/programs', () => {
  it('ends a program that is not ready in time', async () => {
    await using dir = await TempDir.create('late');
    const note = dir.join('pid');
    const late = { command: 'sh', args: ['-c', `echo $$ > ${note}; exec sleep 600`], port: 1 };
    const place = { address: '127.0.0.1', within: [] };
    await assert.rejects(startProgram(place, late, 500), /was not ready after 500 ms/);
    const pid = Number(await readFile(note, 'utf8'));
    assert.ok(pid > 1);
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
  });

  it('takes no seconds of a log line for a version', () => {
    const line =
      '{"time":"2026-11-30T06:44:58.649298365Z","file":"/pkg/mod/spegel@v0.7.3/main.go","msg":"exit"}';
    assert.equal(versionIn(line), '0.7.3');
    assert.equal(versionIn('at 06:44:58.649'), 'unknown');
    assert.equal(versionIn('containerd github.com/containerd/containerd 1.6.20~ds1 rev'), '1.6.20~ds1');
  });
});
