import assert from 'node:assert/strict';
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { FileWatch, type FileWatchOptions } from '../../../src/daemon/file-watch.ts';
import { eventually } from '../../support/eventually.ts';
import { TempDir } from '../../support/temp.ts';

describe('FileWatch', () => {
  let dir: TempDir;
  let changes = 0;
  let stack: DisposableStack;

  beforeEach(async () => {
    dir = await TempDir.create('watch');
    changes = 0;
    stack = new DisposableStack();
  });

  afterEach(async () => {
    stack.dispose();
    await dir[Symbol.asyncDispose]();
  });

  async function start(
    paths: readonly string[],
    options: Partial<FileWatchOptions> = {},
  ): Promise<FileWatch> {
    const watch = stack.use(new FileWatch({ onChange: () => changes++, ...options }));
    await watch.watch(paths);
    return watch;
  }

  const seen = (count: number): Promise<void> => eventually(() => assert.equal(changes, count));

  it('tells of files that are written, replaced and made, and of nothing else', async () => {
    const [file, other, missing] = [dir.join('file'), dir.join('other'), dir.join('missing')];
    await writeFile(file, '1');
    await start([file, missing]);
    await writeFile(other, 'x');
    await writeFile(file, '2');
    await seen(1);
    await rename(other, file);
    await seen(2);
    await writeFile(missing, 'here');
    await seen(3);
  });

  it("follows the link that the kubelet changes for a mounted Secret's files", async () => {
    for (const version of ['..1', '..2']) {
      await mkdir(dir.join(version));
      await writeFile(dir.join(`${version}/key`), version);
    }
    await symlink('..1', dir.join('..data'));
    await symlink('..data/key', dir.join('key'));
    await start([dir.join('key')]);
    await symlink('..2', dir.join('..next'));
    await rename(dir.join('..next'), dir.join('..data'));
    await seen(1);
  });

  it('looks by itself where nothing can be watched', async () => {
    const file = dir.join('file');
    await writeFile(file, '1');
    const watchFolder = (() => {
      throw new Error('EMFILE');
    }) as unknown as NonNullable<FileWatchOptions['watchFolder']>;
    await start([file], { watchFolder, interval: 20 });
    await writeFile(file, '2');
    await seen(1);
  });

  it('waits until a file that is being written stays as it is', async () => {
    const file = dir.join('file');
    await writeFile(file, '1');
    await start([file]);
    for (let i = 0; i < 20; i++) {
      await writeFile(file, `part ${i}`);
      await delay(50);
    }
    await seen(1);
  });

  it('tells of a change that came while other files were named', async () => {
    const [file, more] = [dir.join('file'), dir.join('more')];
    await writeFile(file, '1');
    const watch = await start([file], { watchFolder: () => assert.fail(), interval: 1000 });
    await writeFile(file, '2');
    await watch.watch([file, more]);
    await seen(1);
  });
});
