import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const LAUNCHER = fileURLToPath(new URL('../../../src/cli/weir', import.meta.url));
const run = promisify(execFile);

describe('Launcher (src/cli/weir)', () => {
  let directory = '';
  beforeEach(async () => (directory = await mkdtemp(join(tmpdir(), 'weir-test-'))));
  afterEach(() => rm(directory, { recursive: true }));

  /** A tree with the launcher, a main.ts, and a `node` on PATH that says it has `version` and runs the real one. */
  async function tree(version: string): Promise<{ readonly launcher: string; readonly path: string }> {
    const launcher = join(directory, 'app', 'src', 'cli', 'weir');
    await mkdir(join(directory, 'app', 'src', 'cli'), { recursive: true });
    await mkdir(join(directory, 'bin'));
    await cp(LAUNCHER, launcher);
    await writeFile(
      join(directory, 'app', 'src', 'cli', 'main.ts'),
      'console.log(process.env.NODE_COMPILE_CACHE);',
    );
    const node = join(directory, 'bin', 'node');
    await writeFile(
      node,
      `#!/bin/sh\n[ "$1" = --version ] && echo ${version} && exit\nexec ${process.execPath} "$@"\n`,
    );
    await chmod(node, 0o755);
    return { launcher, path: `${join(directory, 'bin')}:/usr/bin:/bin` };
  }

  it('runs through any chain of symbolic links', async () => {
    await symlink(LAUNCHER, join(directory, 'one'));
    await symlink('one', join(directory, 'two'));
    const { stdout } = await run(join(directory, 'two'), ['version']);
    assert.match(stdout, /^weir \d/);
  });

  it('takes a new enough node of PATH, and refuses an old one with a message', async () => {
    const old = await tree('v20.1.0');
    await assert.rejects(run(old.launcher, [], { env: { PATH: old.path } }), {
      code: 1,
      stderr: /^weir: Node\.js 24 or newer is needed; found: node, version 20\. Run 'npm ci'/,
    });
  });

  it('keeps compiled code in a private folder of the user, never in a shared one', async () => {
    const { launcher, path } = await tree('v26.0.0');
    const home = join(directory, 'home');
    const { stdout } = await run(launcher, [], { env: { PATH: path, HOME: home } });
    assert.equal(stdout.trim(), join(home, '.cache', 'weir'));
    assert.equal((await stat(stdout.trim())).mode & 0o777, 0o700);
    const xdg = await run(launcher, [], {
      env: { PATH: path, HOME: home, XDG_CACHE_HOME: join(directory, 'xdg') },
    });
    assert.equal(xdg.stdout.trim(), join(directory, 'xdg', 'weir'));
    const homeless = await run(launcher, [], { env: { PATH: path } });
    assert.equal(homeless.stdout.trim(), 'undefined');
  });

  it('keeps it with the sources if the user owns the folder of modules', async () => {
    const { launcher, path } = await tree('v26.0.0');
    await mkdir(join(directory, 'app', 'node_modules'));
    const { stdout } = await run(launcher, [], { env: { PATH: path } });
    assert.equal(stdout.trim(), join(directory, 'app', 'node_modules', '.cache', 'weir'));
  });

  it('leaves no shell in between, so that a signal reaches the program', async () => {
    const { launcher, path } = await tree('v26.0.0');
    const main = join(directory, 'app', 'src', 'cli', 'main.ts');
    await writeFile(
      main,
      "process.on('SIGTERM', () => process.exit(7)); console.log('up'); setInterval(() => {}, 1000);",
    );
    const child = spawn(launcher, { env: { PATH: path } });
    await once(child.stdout, 'data');
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'exit'), [7, null]);
  });
});
