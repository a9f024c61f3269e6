/**
 * What a node of Kubernetes can do to its machine that has been taken over: it runs as user 0, and what it writes into its data
 * folder is root's on the machine. The attacker is in the container; an accomplice is an ordinary user of the machine.
 */
import assert from 'node:assert/strict';
import { chmod, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { MINUTE } from '../../src/util/clock.ts';
import { shared } from '../support/fixture.ts';
import { PodScene, POD_NEEDS } from '../support/pod-scene.ts';
import { run, runOk } from '../support/program.ts';
import { requires } from '../support/requires.ts';

/** Through a shell: setpriv keeps its capabilities until it has started something. */
const AS_ACCOMPLICE = [
  ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--'],
  ['sh', '-c', 'exec "$@"', 'sh'],
].flat();
const NODE = '/usr/bin/node';

/** Run by the attacker: a copy of a program that makes root of whoever starts it, and all doors opened that there are. */
const ATTACK = `
const fs = process.getBuiltinModule('node:fs');
fs.copyFileSync('${NODE}', '/var/lib/weir/root');
fs.chmodSync('/var/lib/weir/root', 0o4755);
for (const folder of ['/var/lib/weir', '/var/lib', '/var', '/', '/var/lib/weir/..']) {
  try { fs.chmodSync(folder, 0o755); } catch {}
}
`;

requires(
  ...POD_NEEDS,
  'setpriv',
  'find',
)('a node of Kubernetes that has been taken over', () => {
  const lab = shared(async (stack) => stack.use(await PodScene.start()));

  it('makes no user of the machine root by a program in its data folder', async () => {
    const { host, podman } = lab();
    await using down = new AsyncDisposableStack();
    const end = await lab().play('weir', await lab().render());
    down.defer(async () => void (await end()));
    await lab().ready();
    await podman.runOk('exec', 'weir-pod-weir', NODE, '--eval', ATTACK);

    const found = await runOk('find', [
      host.path,
      '-xdev',
      '-name',
      'root',
      '-perm',
      '-4000',
      '-print',
      '-quit',
    ]);
    const program = found.trim();
    const { uid, mode } = await stat(program);
    assert.deepEqual([uid, mode & 0o7777], [0, 0o4755], 'the attack itself does not work');
    await openWay(host.path);
    const whoami = await run(program, ['-p', 'process.geteuid()'], { within: AS_ACCOMPLICE });
    assert.notEqual(whoami.stdout.trim(), '0', 'an ordinary user became root');
    assert.notEqual(whoami.code, 0);
  }).timeout(4 * MINUTE);
});

/** The folders of the test above the root folder of the machine can be passed through, as there are none on a machine. */
async function openWay(root: string): Promise<void> {
  assert.ok(root.startsWith(`${tmpdir()}/`));
  await chmod(root, 0o755);
  const { code } = await run('ls', [root], { within: AS_ACCOMPLICE });
  assert.equal(code, 0);
}
