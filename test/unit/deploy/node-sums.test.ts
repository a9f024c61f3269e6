/** The shipped binary of Node.js must be that of nodejs.org; a false dist folder stands for it here. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { checkBinary, NODE_SUMS, parseSums } from '../../../deploy/image/node-sums.ts';
import { ARCHITECTURES } from '../../../deploy/image/platforms.ts';
import { recordedSums } from '../../../deploy/image/record-node-sums.ts';
import { shared } from '../../support/fixture.ts';
import { HttpServer } from '../../support/http-server.ts';
import { runOk } from '../../support/program.ts';
import { requires } from '../../support/requires.ts';
import { TempDir } from '../../support/temp.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
const VERSION = '99.1.0';

async function lockedVersion(name: string): Promise<string> {
  const { packages } = JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { version: string }>;
  };
  return packages[`node_modules/${name}`]?.version ?? '';
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('the sums of Node.js', () => {
  it('exist for the versions that package-lock.json locks (record-node-sums.ts adds them)', async () => {
    const sums = parseSums(await readFile(NODE_SUMS, 'utf8'));
    for (const { nodePackage } of ARCHITECTURES) {
      const version = await lockedVersion(nodePackage);
      assert.ok(sums.has(`${nodePackage}-${version}/bin/node`), `no sum of ${nodePackage} ${version}`);
    }
  });

  it('accept the binary that runs this test, and no other', async () => {
    const name = `node-linux-${process.arch}`;
    const version = await lockedVersion(name);
    const binary = join(ROOT, 'node_modules', name, 'bin/node');
    await checkBinary(binary, name, version);
    await assert.rejects(checkBinary(join(ROOT, 'package.json'), name, version), /not what nodejs\.org/);
    await assert.rejects(checkBinary(binary, name, VERSION), /has no sum of .*99\.1\.0.*record-node-sums/);
  });
});

requires(
  'gpg',
  'gpgv',
  'tar',
)('recording the sums of Node.js', () => {
  const lab = shared(async (stack) => {
    const dir = stack.use(await TempDir.create('dist'));
    const home = dir.join('gpg');
    await mkdir(home, { mode: 0o700 });
    const gpg = (...args: readonly string[]): Promise<string> =>
      runOk('gpg', ['--homedir', home, '--batch', '--passphrase', '', ...args]);
    await gpg('--quick-generate-key', 'releaser', 'ed25519', 'sign', 'never');
    await gpg('--output', dir.join('keyring'), '--export');
    stack.defer(async () => void (await runOk('gpgconf', ['--homedir', home, '--kill', 'all'])));
    const sums: string[] = [];
    for (const name of ['x64', 'arm64'].map((arch) => `node-v${VERSION}-linux-${arch}`)) {
      await mkdir(dir.join(name, 'bin'), { recursive: true });
      await writeFile(dir.join(name, 'bin/node'), `the binary of ${name}`);
      await runOk('tar', ['-czf', dir.join(`${name}.tar.gz`), '--directory', dir.path, name]);
      sums.push(`${sha256(await readFile(dir.join(`${name}.tar.gz`)))}  ${name}.tar.gz\n`);
    }
    await writeFile(dir.join('SHASUMS256.txt'), sums.join(''));
    await gpg('--output', dir.join('SHASUMS256.txt.sig'), '--detach-sign', dir.join('SHASUMS256.txt'));
    const changed = new Map<string, string>();
    const server = stack.use(
      await HttpServer.start(async ({ url = '' }, response) => {
        const name = url.replace(`/v${VERSION}/`, '');
        const bytes = await readFile(dir.join(name)).catch(() => undefined);
        response.writeHead(bytes === undefined ? 404 : 200).end(changed.get(name) ?? bytes);
      }),
    );
    return { dist: server.url, keyring: dir.join('keyring'), changed };
  });

  const record = (version = VERSION): Promise<string> => recordedSums({ version, ...lab() });

  it('gives the sums of the binaries in the archives', async () => {
    const expected = ['x64', 'arm64'].map((arch) => {
      const sum = sha256(Buffer.from(`the binary of node-v${VERSION}-linux-${arch}`));
      return `${sum}  node-linux-${arch}-${VERSION}/bin/node\n`;
    });
    assert.equal(await record(), expected.join(''));
  });

  it('refuses a wrong signature, an archive with a wrong sum, and a missing file', async () => {
    const refused = async (name: string, content: string, why: RegExp): Promise<void> => {
      lab().changed.set(name, content);
      await assert.rejects(record(), why);
      lab().changed.clear();
    };
    await refused('SHASUMS256.txt', 'other sums', /gpgv failed[^]*BAD signature/);
    await refused('SHASUMS256.txt.sig', 'no signature', /gpgv failed/);
    await refused(`node-v${VERSION}-linux-x64.tar.gz`, 'other bytes', /SHASUMS256\.txt wants/);
    await assert.rejects(record('98.0.0'), /status 404/);
  });
});
