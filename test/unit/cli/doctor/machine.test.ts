/** The runtimes' files, the disk, the limits. */
import assert from 'node:assert/strict';
import { rm, symlink, writeFile } from 'node:fs/promises';
import { disk, judgeDisk } from '../../../../src/cli/doctor/disk.ts';
import type { Finding } from '../../../../src/cli/doctor/check.ts';
import { inotify, judgeFiles, neededFiles, openFiles } from '../../../../src/cli/doctor/limits.ts';
import { dumpOf, hostRecords, judgeContainerd, runtimeChecks } from '../../../../src/cli/doctor/runtimes.ts';
import { STATE_FOLDER } from '../../../../src/cli/runtimes/original-files.ts';
import { GIB, MIB } from '../../../../src/util/clock.ts';
import { defaultConfig } from '../../../../src/config/load.ts';
import { requires } from '../../../support/requires.ts';
import { TempDir } from '../../../support/temp.ts';
import type { Config } from '../../../../src/config/settings.ts';
import { Machine, PATHS } from '../runtimes/fixture.ts';
import { contextOf } from './fixture.ts';

const CONFIG_PATH =
  'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n';

const on = (machine: Machine, config: Partial<Config> = {}) =>
  contextOf({ config, host: { root: machine.path('/'), stateFolder: STATE_FOLDER } });
const records = (machine: Machine): Promise<Finding> => hostRecords.run(on(machine));

async function look(
  machine: Machine,
  config: Partial<Config> = {},
): Promise<Readonly<Record<string, Finding>>> {
  const context = on(machine, config);
  const found = await Promise.all(
    runtimeChecks.map(async (check) => [check.name, await check.run(context)] as const),
  );
  return Object.fromEntries(found);
}

const states = (found: Readonly<Record<string, Finding>>) =>
  Object.fromEntries(Object.entries(found).map(([name, { state }]) => [name, state]));

describe("weir doctor: the runtimes' files", () => {
  it('are wrong before weir host configure, and in place after it', async () => {
    await using machine = await Machine.create({
      [PATHS.containerdConfig]: CONFIG_PATH,
      [PATHS.docker]: '{}',
    });
    const [absent, wrong, ok] = ['skipped', 'wrong', 'ok'];
    const rest = { 'podman, CRI-O': absent, k3s: absent, RKE2: absent };
    const before = await look(machine);
    assert.equal((await records(machine)).state, 'skipped');
    assert.deepEqual(states(before), { containerd: wrong, Docker: wrong, ...rest });
    assert.equal(before['Docker']?.cure, 'weir host configure');
    await machine.configure();
    const after = await look(machine);
    assert.deepEqual(states(after), { containerd: ok, Docker: ok, ...rest });
    assert.equal(after['containerd']?.found, `in place: ${PATHS.hosts}`);
    assert.deepEqual(await records(machine), { state: 'ok', found: 'it has written 2 files here' });
    await machine.write(`${STATE_FOLDER}/broken.json`, '{');
    assert.match((await records(machine)).found, /broken\.json is not a record of this version/);
  });

  it('are wrong once another program has written one anew, not after an edit by hand', async () => {
    await using machine = await Machine.create({
      [PATHS.containerdConfig]: CONFIG_PATH,
      [PATHS.docker]: '{}',
    });
    await machine.configure();
    await machine.write(PATHS.hosts, `# by hand\n${await machine.read(PATHS.hosts)}`);
    await machine.write(PATHS.docker, '{"debug": true}');
    const found = await look(machine);
    assert.equal(found['containerd']?.state, 'ok');
    assert.deepEqual(
      [found['Docker']?.state, found['Docker']?.found],
      ['wrong', `drifted: ${PATHS.docker} does not name the mirror any more`],
    );
    await rm(machine.path(PATHS.hosts));
    assert.match((await look(machine))['containerd']?.found ?? '', /^drifted: \/etc\/containerd\/certs\.d/);
  });

  it('of one runtime may be left out on purpose', async () => {
    await using machine = await Machine.create({
      [PATHS.containerdConfig]: CONFIG_PATH,
      [PATHS.docker]: '{}',
    });
    await machine.configure({}, ['docker']);
    const found = await look(machine);
    assert.deepEqual([found['Docker']?.state, found['containerd']?.state], ['ok', 'warning']);
  });

  it('are in place without a record if they name the mirror', async () => {
    await using machine = await Machine.create({
      [PATHS.docker]: '{"registry-mirrors": ["http://127.0.0.1:4770"]}',
    });
    assert.equal((await look(machine))['Docker']?.state, 'ok');
  });

  it('are wrong if the mirror listens elsewhere', async () => {
    await using machine = await Machine.create({ [PATHS.docker]: '{}' });
    await machine.configure({ mirrorUrl: 'http://127.0.0.1:470' });
    const { state, found, cure } = (await look(machine))['Docker'] ?? { state: '', found: '' };
    assert.equal(state, 'wrong');
    assert.match(found, /looked for at http:\/\/127\.0\.0\.1:470, and mirror\.listen is 127\.0\.0\.1:4770, /);
    assert.equal(cure, 'weir host configure');
    const moved = await look(machine, { 'mirror.listen': [{ host: '0.0.0.0', port: 471 }] });
    assert.equal(moved['Docker']?.cure, 'weir host configure --mirror-url http://127.0.0.1:471');
  });

  it('are looked at without the records, which are not for all users', async () => {
    await using machine = await Machine.create({ [PATHS.docker]: '{}' });
    await symlink(STATE_FOLDER, machine.path(STATE_FOLDER)); // a loop: not even root can list it
    assert.equal((await look(machine))['Docker']?.state, 'warning');
    await machine.write(PATHS.docker, '{"registry-mirrors": ["http://127.0.0.1:4770"]}');
    assert.equal((await look(machine))['Docker']?.state, 'ok');
  });

  it('are of no use without config_path', async () => {
    await using machine = await Machine.create({ [PATHS.containerdConfig]: 'version = 2\n' });
    await machine.configure();
    const { state, found, cure } = (await look(machine))['containerd'] ?? { state: '', found: '' };
    assert.deepEqual([state, found.startsWith('config_path is not set')], ['wrong', true]);
    assert.match(cure ?? '', /restart containerd once$/);
  });

  it('that cannot be understood are named', async () => {
    await using machine = await Machine.create({ [PATHS.docker]: '{' });
    const { state, found } = (await look(machine))['Docker'] ?? { state: '', found: '' };
    assert.deepEqual([state, found.includes(PATHS.docker)], ['wrong', true]);
  });

  it('count as containerd reads them, whatever its file says', () => {
    const state = { file: PATHS.containerdConfig, configPath: ['/etc/containerd/certs.d'], problems: [] };
    assert.equal(judgeContainerd(state, undefined, [PATHS.hosts]), undefined);
    assert.equal(judgeContainerd(state, { configPath: undefined }, [PATHS.hosts])?.state, 'wrong');
    const elsewhere = judgeContainerd(state, { configPath: ['/etc/other'] }, [PATHS.hosts]);
    assert.match(elsewhere?.found ?? '', /^drifted: containerd reads \/etc\/other, and the mirror is in/);
    const unset = { ...state, configPath: undefined };
    assert.equal(
      judgeContainerd(unset, { configPath: ['/etc/containerd/certs.d'] }, [PATHS.hosts]),
      undefined,
    );
    const listed = judgeContainerd({ ...state, problems: ['several'] }, undefined, [PATHS.hosts]);
    assert.equal(listed?.state, 'warning');
  });
});

requires('containerd')('weir doctor: containerd itself', () => {
  it('is asked for config_path', async () => {
    await using dir = await TempDir.create('doctor-containerd');
    const dump = async (text: string) => {
      await writeFile(dir.join('config.toml'), text);
      return dumpOf(dir.join('config.toml'), AbortSignal.timeout(10_000));
    };
    assert.deepEqual(await dump(CONFIG_PATH), { configPath: ['/etc/containerd/certs.d'] });
    assert.ok((await dump('version = 2\n')) !== undefined);
    assert.equal(await dump('not TOML'), undefined);
  });
});

describe('weir doctor: the disk', () => {
  it('is right if the data folder can be written, or made', async () => {
    await using dir = await TempDir.create('doctor-disk');
    assert.equal((await disk.run(contextOf({ config: { 'data.dir': dir.path } }))).state, 'ok');
    const made = await disk.run(contextOf({ config: { 'data.dir': dir.join('a/b') } }));
    assert.deepEqual([made.state, made.found.includes('(not there yet)')], ['ok', true]);
    await writeFile(dir.join('file'), '');
    const file = await disk.run(contextOf({ config: { 'data.dir': dir.join('file') } }));
    assert.deepEqual([file.state, file.found.endsWith('is no folder')], ['wrong', true]);
  });

  it('is wrong if nothing is left, and a warning if the quota cannot be reached', () => {
    const facts = { folder: '/data', free: 30 * GIB, quota: 20 * GIB, used: 5 * GIB };
    assert.equal(judgeDisk(facts).state, 'ok');
    assert.equal(judgeDisk({ ...facts, free: 10 * GIB }).state, 'warning');
    assert.equal(judgeDisk({ ...facts, free: 10 * GIB, used: 15 * GIB }).state, 'ok');
    assert.equal(judgeDisk({ ...facts, free: 10 * GIB, used: undefined }).state, 'ok');
    const { state, cure } = judgeDisk({ ...facts, free: 100 * MIB });
    assert.deepEqual([state, /data\.dir/.test(cure ?? '')], ['wrong', true]);
  });
});

describe('weir doctor: limits', () => {
  it('of open files are held against what the settings allow', async () => {
    const needed = neededFiles(defaultConfig(), undefined);
    assert.ok(needed > 1024 && needed < 4096, String(needed));
    assert.ok(neededFiles(defaultConfig({ 'mirror.max-requests': 65_536 }), undefined) > 65_536);
    assert.equal(judgeFiles(65_536, needed, 60).state, 'ok');
    const { state, found, cure } = judgeFiles(1024, needed, 60);
    assert.deepEqual([state, found], ['wrong', `limit 1024, at most ${needed} needed, 60 open in the node`]);
    assert.match(cure ?? '', /LimitNOFILE=65536/);
    assert.match((await openFiles.run(contextOf())).found, /^limit \d+, at most/);
  });

  it('of inotify are tried, unless nothing is watched', async () => {
    const { state, found } = await inotify.run(contextOf({ config: { 'store.runtime-content': 'auto' } }));
    assert.equal(state, 'ok', found);
    assert.match(found, /\d+ instances, \d+ watches/);
    assert.equal((await inotify.run(contextOf())).state, 'skipped');
  });
});
