import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { defaultConfig } from '../../../src/config/load.ts';
import { readZone } from '../../../src/daemon/cluster-settings.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { TempDir } from '../../support/temp.ts';

describe('readZone', () => {
  it('prefers node.zone to the file, and reads the file without its newline', async () => {
    await using dir = await TempDir.create('zone');
    const file = dir.join('zone');
    await writeFile(file, 'eu-1a\n');
    assert.equal(await readZone(defaultConfig({ 'node.zone-file': file })), 'eu-1a');
    assert.equal(await readZone(defaultConfig({ 'node.zone-file': file, 'node.zone': 'eu-1b' })), 'eu-1b');
  });

  it('gives no zone if the file is missing or empty', async () => {
    await using dir = await TempDir.create('zone');
    const config = defaultConfig({ 'node.zone-file': dir.join('zone') });
    assert.equal(await readZone(config), '');
    await writeFile(dir.join('zone'), '');
    assert.equal(await readZone(config), '');
    assert.equal(await readZone(defaultConfig()), '');
  });

  it('refuses content that is no zone, and an unreadable file', async () => {
    await using dir = await TempDir.create('zone');
    await writeFile(dir.join('zone'), 'two words');
    const isInvalid = (error: unknown): boolean => isWeirError(error, 'config_invalid');
    await assert.rejects(readZone(defaultConfig({ 'node.zone-file': dir.join('zone') })), isInvalid);
    await assert.rejects(readZone(defaultConfig({ 'node.zone-file': dir.path })), isInvalid);
  });
});
