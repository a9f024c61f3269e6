import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readFileBounded } from '../../../src/config/read-file.ts';

describe('readFileBounded', () => {
  let directory = '';
  before(async () => (directory = await mkdtemp(join(tmpdir(), 'weir-test-'))));
  after(() => rm(directory, { recursive: true }));

  it('reads up to the bound and refuses more', async () => {
    const path = join(directory, 'file');
    await writeFile(path, 'äöü');
    assert.equal(await readFileBounded(path, 6), 'äöü');
    await assert.rejects(readFileBounded(path, 5), {
      code: 'config_invalid',
      message: /larger than the allowed 5/,
    });
  });

  it('gives undefined for a missing file, and an error for a folder', async () => {
    assert.equal(await readFileBounded(join(directory, 'none'), 10), undefined);
    assert.equal(await readFileBounded(join(directory, 'none', 'deeper'), 10), undefined);
    await assert.rejects(readFileBounded(directory, 10), {
      code: 'config_invalid',
      message: /cannot be read/,
    });
  });
});
