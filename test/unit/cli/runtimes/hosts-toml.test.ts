import assert from 'node:assert/strict';
import { hostsTomlEdit } from '../../../../src/cli/runtimes/hosts-toml.ts';
import { MIRROR } from './fixture.ts';

describe('hosts.toml', () => {
  it('is edited in time, however many table headers are in its texts', () => {
    const edit = hostsTomlEdit({ mirrorUrl: MIRROR, resolve: 'mirror' }, 'quay.io');
    const text = `x = """\n${'[host."http://a"]\n'.repeat(8000)}"""\n`;
    const start = performance.now();
    const added = edit.add(text);
    const took = performance.now() - start;
    assert.ok(added.startsWith(text) && added.includes(MIRROR));
    assert.ok(took < 2000, `${took.toFixed(0)} ms`);
  });
});
