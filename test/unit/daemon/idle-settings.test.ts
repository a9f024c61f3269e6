import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { entriesForImages, IdleSettings, type ContentFolder } from '../../../src/daemon/idle-settings.ts';
import { parseRegistryHost, type RegistryHost } from '../../../src/oci/repository.ts';
import { HOUR, MINUTE } from '../../../src/util/clock.ts';
import { TempDir } from '../../support/temp.ts';
import { VirtualClock } from '../network/virtual-clock.ts';

const A = parseRegistryHost('a.example');
const B = parseRegistryHost('b.example:5000');

function scene(folders: readonly ContentFolder[], entries: readonly RegistryHost[] = []) {
  const clock = new VirtualClock();
  const said: string[] = [];
  const settings = new IdleSettings({
    clock,
    logger: { warn: (_, message) => said.push(message) },
    folders: () => folders,
    entries,
  });
  const pass = async (ms: number): Promise<void> => {
    await clock.advance(ms);
    await settings.look();
  };
  return { said, settings, pass };
}

describe('IdleSettings', () => {
  it('names a content folder that is missing, wrong or empty once blobs were pulled, each once', async () => {
    await using dir = await TempDir.create('content');
    await mkdir(dir.join('wrong'));
    await mkdir(dir.join('empty/blobs'), { recursive: true });
    const roots = ['none', 'wrong', 'empty', 'good'].map((name) => dir.join(name));
    const { said, settings, pass } = scene(
      roots.map((root) => ({ root, blobs: root.endsWith('good') ? 3 : 0 })),
    );
    await pass(HOUR);
    assert.deepEqual(said, [], 'nothing was pulled');
    settings.pulled();
    await pass(MINUTE);
    assert.deepEqual(said, [], 'the runtime may not have it yet');
    await pass(MINUTE);
    assert.deepEqual(
      said.map((text) => /content folder \S*\/(\w+) (.*), although blobs were pulled/.exec(text)?.slice(1)),
      [
        ['none', 'does not exist'],
        ['wrong', 'is not a content folder of containerd (it has no blobs/)'],
        ['empty', 'is empty'],
      ],
    );
    assert.match(said[0] ?? '', /store\.runtime-content/);
    settings.pulled();
    await pass(HOUR);
    assert.equal(said.length, 3);
  });

  it('names entries of registries that nobody asked for in a day with pulls, once', async () => {
    const { said, settings, pass } = scene([], [A, B]);
    await pass(25 * HOUR);
    assert.deepEqual(said, [], 'a day without pulls');
    settings.asked(A);
    settings.pulled();
    await pass(23 * HOUR);
    assert.deepEqual(said, []);
    await pass(2 * HOUR);
    assert.match(said[0] ?? '', /^no image of b\.example:5000 was asked for in a day with pulls/);
    settings.pulled();
    await pass(48 * HOUR);
    assert.equal(said.length, 1);
  });

  it('expects no images of an empty entry, which allows a place, and of the entry of a mirror', () => {
    const mirror = parseRegistryHost('mirror.example');
    const entries = entriesForImages(
      new Map([
        [A, { mirrors: [new URL('https://mirror.example/hub')] }],
        [B, { endpoint: undefined, caFiles: undefined }],
        [mirror, { credential: { kind: 'bearer', token: 'x' } }],
      ]),
    );
    assert.deepEqual(entries, [A]);
  });

  it('says nothing if each entry is used', async () => {
    const { said, settings, pass } = scene([], [A, B]);
    for (const host of [A, B]) settings.asked(host);
    settings.pulled();
    await pass(25 * HOUR);
    assert.deepEqual(said, []);
  });
});
