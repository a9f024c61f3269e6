/** Brings up deploy/compose.yaml as its head says: three nodes share an image, and `down` leaves no container. */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { KIB, MIB, MINUTE } from '../../src/util/clock.ts';
import type { StatusReport } from '../../src/status/status-report.ts';
import { assertSentOnce } from '../support/assertions.ts';
import { BUILDING, builtImage, writeArchive } from '../support/built-image.ts';
import { Docker } from '../support/docker.ts';
import { buildImage } from '../support/images.ts';
import { freePort } from '../support/ports.ts';
import { describeResult, run, runOk } from '../support/program.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WEIR } from '../support/weir.ts';

const COMPOSE = new URL('../../deploy/compose.yaml', import.meta.url);
/** The test's own network. It is fixed, so that the configuration can name the registry: the machine is `.1` in it. */
const SUBNET = '10.213.77';
const IMAGE = 'localhost/weir:test';

requires(
  ...BUILDING,
  'docker-registry',
  'dockerd',
  'docker',
  'docker-compose',
  'openssl',
)('compose', () => {
  it('brings up three nodes that share an image', async () => {
    await using registry = await Registry.start({ listen: '0.0.0.0:0' });
    const port = new URL(registry.url).port;
    await using dir = await TempDir.create('compose');
    await using docker = await Docker.start();
    await writeArchive(await builtImage(), 'docker-archive', dir.join('image.tar'), IMAGE);
    await docker.commandOk(['load', '--quiet', '--input', dir.join('image.tar')]);

    const ports = [await freePort(), await freePort(), await freePort()];
    await mkdir(dir.join('deploy'));
    const text = await readFile(COMPOSE, 'utf8');
    const own = text.replaceAll(
      /127\.0\.0\.1:470([123]):/g,
      (_, node: string) => `127.0.0.1:${ports[Number(node) - 1]}:`,
    );
    await writeFile(dir.join('deploy/compose.yaml'), own);
    await writeFile(dir.join('deploy/test.yaml'), override());
    await writeFile(
      dir.join('deploy/config.yaml'),
      `registries:\n  registry.test:\n    endpoint: http://${SUBNET}.1:${port}\n`,
    );
    await runOk(
      'sh',
      ['-c', '(umask 077; openssl rand -base64 32 > cluster.key) && chown 65532 cluster.key'],
      {
        cwd: dir.path,
      },
    );

    const compose = async (...args: readonly string[]): Promise<string> => {
      const files = ['-f', 'deploy/compose.yaml', '-f', 'deploy/test.yaml', '--project-name', 'weirtest'];
      const env = { DOCKER_HOST: docker.host, WEIR_IMAGE: IMAGE };
      const result = await run('docker-compose', [...files, ...args], {
        cwd: dir.path,
        env,
        timeout: 3 * MINUTE,
      });
      if (result.code !== 0) throw new Error(describeResult(`docker-compose ${args.join(' ')}`, result));
      return result.stdout;
    };
    await compose('up', '--detach');
    try {
      const image = await buildImage({ seed: 'compose', layers: [100 * KIB, 9 * MIB] });
      await push(`http://127.0.0.1:${port}`, 'compose/app', 'v1', image);
      registry.accessLog.clear();
      await until(async () => {
        const { stdout } = await docker.command([
          'exec',
          'weirtest_node3_1',
          '/usr/bin/weir',
          'status',
          '--json',
        ]);
        return (JSON.parse(stdout) as StatusReport).cluster?.members === 3;
      });
      for (const each of ports) {
        await runOk(WEIR, ['pull', 'registry.test/compose/app:v1', '--mirror', `http://127.0.0.1:${each}`]);
      }
      assertSentOnce(registry.accessLog, image);
    } catch (error) {
      throw new Error(`${String(error)}\n${await compose('logs', '--no-color')}`, { cause: error });
    } finally {
      await compose('down', '--volumes');
    }
    assert.equal((await docker.commandOk(['ps', '--all', '--quiet'])).trim(), '');
  }).timeout(6 * MINUTE);
});

function override(): string {
  const nodes = ['node1', 'node2', 'node3'].map(
    (name) => `  ${name}:\n    volumes: ['./config.yaml:/etc/weir/config.yaml:ro']\n`,
  );
  const ipam = `{ config: [{ subnet: ${SUBNET}.0/24, gateway: ${SUBNET}.1 }] }`;
  return `services:\n${nodes.join('')}networks:\n  weir:\n    ipam: ${ipam}\n`;
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + MINUTE; ; await delay(200)) {
    if (await isSo().catch(() => false)) return;
    if (Date.now() > deadline) throw new Error('the nodes did not find each other within a minute');
  }
}
