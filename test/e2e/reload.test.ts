/** A running node takes a changed configuration, and goes on with what it had if that is broken. */
import assert from 'node:assert/strict';
import { cp, rm, writeFile } from 'node:fs/promises';
import { parseImageReference } from '../../src/oci/reference.ts';
import { pullImage } from '../../src/cli/client/pull-image.ts';
import { SECOND } from '../../src/util/clock.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { shared } from '../support/fixture.ts';
import { buildImage } from '../support/images.ts';
import { Program } from '../support/program.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WEIR, WeirNode } from '../support/weir.ts';

/** Milliseconds: without inotify a change is found within ten seconds. */
const NOTICED = 30 * SECOND;
const NAME = 'team/app';

function pull(node: WeirNode, registry: Registry, tag: string): Promise<unknown> {
  return pullImage({
    image: parseImageReference(`${registry.host}/${NAME}:${tag}`),
    mirror: new URL(node.url),
  });
}

async function reloads(node: WeirNode): Promise<number> {
  return node.log.match(/configuration (reloaded|read again|not reloaded)/g)?.length ?? 0;
}

/** Waits for one more reload than there were before `change`. */
async function reloaded(node: WeirNode, change: () => Promise<void> | void): Promise<void> {
  const before = await reloads(node);
  await change();
  const isMore = async (): Promise<void> => assert.ok((await reloads(node)) > before, 'no reload');
  await eventually(isMore, NOTICED);
}

requires(
  'docker-registry',
  'openssl',
  'htpasswd',
)('reload', () => {
  const lab = shared(async (stack) => {
    const pantry = stack.use(await Registry.start());
    for (const tag of ['a', 'b', 'c'])
      await push(pantry.url, NAME, tag, await buildImage({ seed: `reload-${tag}` }));
    return { pantry };
  });

  it('takes another password when the file changes, and keeps it when the file is broken', async () => {
    await using registry = await Registry.start({ storage: lab().pantry.storage, users: { alice: 'new' } });
    const entry = (password: string) => ({ [registry.host]: { username: 'alice', password } });
    await using node = await WeirNode.start({ registries: entry('old') });
    await assert.rejects(pull(node, registry, 'a'));
    await reloaded(node, () => node.configure({ registries: entry('new') }));
    await pull(node, registry, 'a');

    await reloaded(node, () => node.configureText('registries: {"'));
    await node.logged(/"level":"error".*configuration not reloaded/);
    await pull(node, registry, 'b');
    const broken = await node.status();
    assert.match(broken.reload?.error ?? '', /no valid YAML/);
    assert.equal((await node.metrics()).sum('weir_config_last_reload_successful'), 0);

    await reloaded(node, () => node.configure({ registries: entry('new') }));
    const mended = await node.status();
    assert.equal(mended.reload?.error, undefined);
    const metrics = await node.metrics();
    assert.equal(metrics.sum('weir_config_last_reload_successful'), 1);
    const age = Date.now() / 1000 - metrics.sum('weir_config_last_reload_timestamp_seconds');
    assert.ok(age >= 0 && age < 60, `${age} s`);
    assert.ok(!node.log.includes('"new"'), 'the password is in the log');
  });

  it('trusts another authority when its file is replaced', async () => {
    await using dir = await TempDir.create('reload');
    const [good, other] = await Promise.all(
      ['good', 'other'].map(async (name) => CertificateAuthority.create(await TempDir.create(name))),
    );
    assert.ok(good !== undefined && other !== undefined);
    const tls = await good.issue('localhost', '127.0.0.1');
    await using registry = await Registry.start({ storage: lab().pantry.storage, tls });
    const file = dir.join('ca.crt');
    await cp(other.file, file);
    await using node = await WeirNode.start({ registries: { [registry.host]: { 'ca-file': file } } });
    await assert.rejects(pull(node, registry, 'a'));
    await reloaded(node, () => writeFile(file, 'no certificate'));
    await node.logged(/cannot use the CA file.*configuration not reloaded/);
    await reloaded(node, () => cp(good.file, file));
    await pull(node, registry, 'a');
    await reloaded(node, () => rm(file));
    await pull(node, registry, 'b');
  });

  it('takes what can change, and names once what needs a restart', async () => {
    const { pantry } = lab();
    const sections = (level: string, mode: string, requests: string) => ({
      log: { level },
      access: { mode },
      mirror: { 'max-requests': requests },
    });
    await using node = await WeirNode.start({ sections: sections('info', 'verify', '100') });
    await node.configure({ sections: sections('debug', 'open', '200') });
    await reloaded(node, () => node.signal('SIGHUP'));
    await node.logged(/"level":"warn".*"settings":\["mirror.max-requests"\].*after a restart/);
    assert.equal(node.log.match(/after a restart/g)?.length, await reloads(node));
    await pull(node, pantry, 'a');
    await node.logged(/"level":"debug"/);
    assert.deepEqual((await node.status()).reload?.waiting, ['mirror.max-requests']);
    await reloaded(node, () => node.configure({ sections: sections('info', 'open', '100') }));
    assert.deepEqual((await node.status()).reload?.waiting, []);
  });

  it('does not end by SIGHUP, also while it starts and while it stops', async () => {
    await using dir = await TempDir.create('reload');
    await writeFile(dir.join('config.yaml'), 'cluster: { mode: "off" }');
    const listen = ['--mirror-listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'];
    const args = ['node', '--config', dir.join('config.yaml'), '--data-dir', dir.join('data'), ...listen];
    await using node = await Program.start({ command: WEIR, args });
    await node.line(/configuration read/);
    const hups = setInterval(() => node.signal('SIGHUP'), 5);
    try {
      await node.line(/"msg":"ready"/);
      await node.line(/configuration read again: nothing to change/);
    } finally {
      clearInterval(hups);
    }
    node.signal('SIGTERM');
    node.signal('SIGHUP');
    assert.deepEqual(await node.exited, { code: 0, signal: null });
  });
});
