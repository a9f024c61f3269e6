/** The level of a running node's log is changed by `weir log-level`, by who can read its data folder, and by SIGUSR2. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, runOk } from '../support/program.ts';
import { TempDir } from '../support/temp.ts';
import { WEIR, WeirNode } from '../support/weir.ts';

describe('weir log-level', () => {
  it('shows and changes the level; a signal toggles debug', async () => {
    await using node = await WeirNode.start({ settings: { 'cluster.mode': 'off', 'log.level': 'info' } });
    const at = ['--admin', new URL(node.adminUrl).host, '--token-file', join(node.dataFolder, 'admin-token')];
    assert.equal(await runOk(WEIR, ['log-level', ...at]), 'info\n');
    await fetch(`${node.url}/v2/`);
    assert.doesNotMatch(node.log, /request served/);
    const shown = await runOk(WEIR, ['log-level', 'debug', ...at]);
    assert.match(shown, /^debug \(info is configured/);
    await node.logged(/"from":"info","to":"debug","by":"PUT \/v1\/log-level","msg":"log level changed"/);
    await fetch(`${node.url}/v2/`);
    await node.logged(/"msg":"request served"/);
    node.signal('SIGUSR2');
    await node.logged(/"from":"debug","to":"info","by":"SIGUSR2"/);
    assert.deepEqual(JSON.parse(await runOk(WEIR, ['log-level', '--json', ...at])), {
      level: 'info',
      configured: 'info',
    });
    node.signal('SIGUSR2');
    await node.logged(/"from":"info","to":"debug","by":"SIGUSR2"/);
  });

  it('says which token is missing, or wrong', async () => {
    await using dir = await TempDir.create('token');
    await using node = await WeirNode.start({ settings: { 'cluster.mode': 'off' } });
    const at = ['--admin', new URL(node.adminUrl).host, '--token-file', dir.join('admin-token')];
    const missing = await run(WEIR, ['log-level', 'error', ...at]);
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /^weir: there is no token .*admin-token \(a node writes it/);
    await writeFile(dir.join('admin-token'), 'x'.repeat(43));
    const wrong = await run(WEIR, ['log-level', 'error', ...at]);
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /^weir: the token in .*admin-token is not that of this node/);
    const unknown = await run(WEIR, ['log-level', 'loud', ...at]);
    assert.equal(unknown.code, 2);
  });
});
