/** `weir bugreport`: secrets are planted wherever one may stand, and none of them is in the unpacked archive. */
import assert from 'node:assert/strict';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { extract } from 'tar-stream';
import { runCli } from '../../../../src/cli/program.ts';
import { shared } from '../../../support/fixture.ts';
import { HttpServer } from '../../../support/http-server.ts';
import { TempDir } from '../../../support/temp.ts';
import { fakeNode, peerReportOf, statusOf, transferOf } from '../../status/fixture.ts';
import { NOWHERE } from '../doctor/fixture.ts';

const SECRETS = {
  key: 'pXk3b2N0b3ItdGVzdC1rZXktMDEyMzQ1Njc4OWFi',
  password: 'registry-password-1',
  filed: 'registry-password-2',
  bearer: 'registry-token-3',
  docker: 'docker-password-4',
  identity: 'docker-identity-5',
  header: 'docker-header-6',
  proxy: 'proxy-password-7',
  /** Known to no configuration. */
  stranger: 'a-callers-own-credential-8',
  inUrl: 'password-of-a-url-9',
  signature: 'signature-of-a-url-10',
};
const basic = (password: string): string => btoa(`ada:${password}`);

class Sink extends Writable {
  readonly chunks: Buffer[] = [];
  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.chunks.push(chunk);
    done();
  }
}

/** The files of an archive by their names, without the folder. */
async function unpack(archive: Buffer): Promise<Readonly<Record<string, string>>> {
  const files: Record<string, string> = {};
  const entries = extract();
  Readable.from([gunzipSync(archive)]).pipe(entries);
  for await (const entry of entries) {
    const { name } = entry.header;
    files[name.slice(name.indexOf('/') + 1)] = await text(entry);
  }
  return files;
}

/** What a node, its libraries and its operator might have written. */
const LOG = [
  `{"level":"info","msg":"ready"}`,
  `{"level":"warn","msg":"odd","headers":{"authorization":"Bearer ${SECRETS.stranger}"}}`,
  `Proxy-Authorization: Basic ${basic(SECRETS.stranger)}`,
  `the key is ${SECRETS.key}, said somebody`,
  `GET https://ada:${SECRETS.inUrl}@registry.example/v2/ 401`,
  `GET https://s3.example/b?X-Amz-Signature=${SECRETS.signature} 403`,
  ...Object.values(SECRETS).flatMap((secret) => [`authorization: Basic ${basic(secret)}`, `token=${secret}`]),
  ...[SECRETS.password, SECRETS.filed, SECRETS.docker, SECRETS.proxy, SECRETS.header].map(
    (secret) => `x ${secret} y`,
  ),
  'the last line',
].join('\n');

describe('weir bugreport', () => {
  const lab = shared(async (stack) => {
    const dir = stack.use(await TempDir.create('bugreport'));
    const registry = stack.use(
      await HttpServer.start((_, response) => {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end();
      }),
    );
    const problem = `https://ada:${SECRETS.inUrl}@h: Bearer ${SECRETS.stranger}, ${SECRETS.password}`;
    const status = statusOf({ transfers: [transferOf('failed', { state: 'failed', error: problem })] });
    const node = stack.use(await fakeNode(status));
    node.peers = { peers: [peerReportOf(2, { name: SECRETS.filed })] };
    node.metrics = `weir_x{registry="ada:${SECRETS.docker}"} 1\nweir_y{url="http://u:${SECRETS.inUrl}@h"} 2\n`;
    const write = async (name: string, content: string): Promise<string> => {
      await writeFile(dir.join(name), content);
      await chmod(dir.join(name), 0o600);
      return dir.join(name);
    };
    const docker = {
      auths: {
        [registry.host]: { auth: basic(SECRETS.docker) },
        'ghcr.io': { identitytoken: SECRETS.identity },
      },
      HttpHeaders: { 'X-Meta': SECRETS.header },
    };
    const config = {
      cluster: { 'key-file': await write('cluster.key', `${SECRETS.key}\n`) },
      upstream: { 'docker-config': await write('docker.json', JSON.stringify(docker)) },
      store: { 'runtime-content': 'none' },
      registries: {
        [registry.host]: { username: 'ada', password: SECRETS.password },
        '127.0.0.1:1': { username: 'ada', 'password-file': await write('password', `${SECRETS.filed}\n`) },
        'localhost:1': { token: SECRETS.bearer },
      },
    };
    await write('config.yaml', JSON.stringify(config));
    await write('weir.log', LOG);
    return { dir, node };
  });

  async function run(
    out: string,
    more: readonly string[] = [],
    env: Record<string, string> = {},
  ): Promise<{ code: number; stdout: Sink; stderr: Sink }> {
    const { dir, node } = lab();
    const [stdout, stderr] = [new Sink(), new Sink()];
    const proxy = `http://ada:${SECRETS.proxy}@127.0.0.1:1`;
    const context = { version: '1.2.3', env: { HTTPS_PROXY: proxy, ...env }, stdout, stderr };
    const given = [
      '--config',
      dir.join('config.yaml'),
      '--admin',
      node.address.host,
      '--host-root',
      NOWHERE.root,
    ];
    const code = await runCli(['bugreport', '--out', out, ...given, ...more], context);
    return { code, stdout, stderr };
  }

  it('has everything, and none of the secrets', async () => {
    const { dir } = lab();
    const out = dir.join('report.tar.gz');
    const { code, stdout, stderr } = await run(out, ['--log', dir.join('weir.log')]);
    assert.deepEqual([code, stderr.text], [0, '']);
    assert.equal((await stat(out)).mode & 0o777, 0o600);
    const files = await unpack(await readFile(out));
    const names = ['about', 'doctor', 'config', 'status', 'peers'].map((name) => `${name}.json`);
    assert.deepEqual(Object.keys(files), [...names, 'metrics.txt', 'log.txt']);
    for (const [name, content] of Object.entries({ ...files, stdout: stdout.text })) {
      for (const [which, secret] of Object.entries(SECRETS)) {
        for (const form of [secret, encodeURIComponent(secret), btoa(secret), basic(secret)])
          assert.ok(!content.includes(form), `${which} is in ${name}:\n${content}`);
      }
    }
    for (const name of names) assert.ok(typeof JSON.parse(files[name] ?? '') === 'object', name);
    assert.match(files['log.txt'] ?? '', /^\{"level":"info","msg":"ready"\}\n[\s\S]*\nthe last line$/);
    assert.match(files['status.json'] ?? '', /"name": "node-a"/);
    assert.match(files['config.json'] ?? '', /"key": "tags\.ttl"/);
    assert.match(files['metrics.txt'] ?? '', /^weir_x\{.*\} 1$/m);
    assert.match(files['doctor.json'] ?? '', /"name": "cluster key"/);
    assert.match(files['about.json'] ?? '', /"version": "1\.2\.3"/);
  });

  it('goes to standard output, and what is said about it to standard error', async () => {
    const { stdout, stderr } = await run('-', ['--log', lab().dir.join('weir.log')]);
    assert.ok('log.txt' in (await unpack(Buffer.concat(stdout.chunks))));
    assert.match(stderr.text, /look through it\nbefore you hand it on\.\n$/);
  });

  it('is written without a node or a log, and says what is missing', async () => {
    const { dir } = lab();
    const out = dir.join('silent.tar.gz');
    const { code, stdout } = await run(out, ['--admin', '127.0.0.1:1', '--log', dir.join('none.log')]);
    assert.equal(code, 0);
    assert.match(stdout.text, /^ {2}without status\.json, peers\.json, metrics\.txt: no node answers at/m);
    assert.match(stdout.text, /^ {2}without log\.txt: ENOENT/m);
    assert.deepEqual(Object.keys(await unpack(await readFile(out))), [
      'about.json',
      'doctor.json',
      'config.json',
    ]);
  });

  it('has no log if the configuration cannot be read, as its secrets are not known then', async () => {
    const { dir } = lab();
    const out = dir.join('broken.tar.gz');
    const { code, stdout } = await run(out, ['--log', dir.join('weir.log')], { WEIR_TAGS_TTL: 'soon' });
    assert.equal(code, 0);
    assert.match(
      stdout.text,
      /without log\.txt: the configuration cannot be read, so its secrets are not known/,
    );
    const files = await unpack(await readFile(out));
    assert.deepEqual(Object.keys(files), ['about.json', 'doctor.json']);
    assert.match(files['doctor.json'] ?? '', /tags\.ttl: /);
  });

  it('has the last 2000 lines of a long log', async () => {
    const { dir } = lab();
    const log = dir.join('long.log');
    await writeFile(log, Array.from({ length: 100_000 }, (_, i) => `line ${i} ${'x'.repeat(60)}\n`).join(''));
    const { stdout } = await run('-', ['--log', log]);
    const lines = (await unpack(Buffer.concat(stdout.chunks)))['log.txt']?.trimEnd().split('\n') ?? [];
    assert.equal(lines.length, 2000);
    assert.match(lines[0] ?? '', /^line 98000 x/);
  });

  it('is not written over another file', async () => {
    const out = lab().dir.join('config.yaml');
    const before = await readFile(out, 'utf8');
    const { code, stderr } = await run(out);
    assert.deepEqual([code, stderr.text], [2, `weir: --out: ${out} exists already\n`]);
    assert.equal(await readFile(out, 'utf8'), before);
  });
});
