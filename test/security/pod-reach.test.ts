/**
 * The reach of a taken-over node of Kubernetes on its machine: it runs as user 0, and root owns the files of its data
 * folder. The attacker is in the container; an accomplice is an ordinary user of the machine.
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

/** Run by the attacker: makes a program that makes its caller root, and opens all folders that it can. */
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

  it('cannot make a user of the machine root by a program in its data folder', async () => {
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

/** Opens the folders above the test's root folder: a real machine has none above its root. */
async function openWay(root: string): Promise<void> {
  assert.ok(root.startsWith(`${tmpdir()}/`));
  await chmod(root, 0o755);
  const { code } = await run('ls', [root], { within: AS_ACCOMPLICE });
  assert.equal(code, 0);
}
