import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import type { CliContext } from '../../../src/cli/context.ts';
import { describeError, exitCodeOf } from '../../../src/cli/exit-codes.ts';
import { runCli } from '../../../src/cli/program.ts';
import { flagName } from '../../../src/config/setting-names.ts';
import { SETTING_KEYS } from '../../../src/config/settings.ts';
import { WeirError } from '../../../src/util/errors.ts';
import { generateImage } from '../../../src/cli/demo/image.ts';
import { EmbeddedRegistry } from '../../../src/cli/demo/embedded-registry.ts';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(arguments_: readonly string[], env: Record<string, string> = {}): Promise<Ran> {
  const texts = { out: '', err: '' };
  const into = (name: 'out' | 'err'): Writable =>
    new Writable({
      write: (chunk: Buffer, _, done) => {
        texts[name] += chunk.toString();
        done();
      },
    });
  const context: CliContext = { version: '1.2.3', env, stdout: into('out'), stderr: into('err') };
  const code = await runCli(arguments_, context);
  return { code, ...texts };
}

describe('The command line', () => {
  it('has help on every command', async () => {
    for (const command of [
      [],
      ['node'],
      ['pull'],
      ['status'],
      ['pulls'],
      ['peers'],
      ['log-level'],
      ['demo'],
      ['config'],
      ['host'],
      ['host', 'configure'],
      ['host', 'restore'],
      ['kubernetes'],
      ['kubernetes', 'zone'],
      ['kubernetes', 'wait'],
      ['store'],
      ...['ls', 'rm', 'pin', 'unpin', 'gc'].map((each) => ['store', each]),
      ['version'],
      ['complete'],
    ]) {
      const { code, out } = await run([...command, '--help']);
      assert.equal(code, 0);
      assert.match(out, /^Usage: weir/);
    }
    const { out } = await run(['node', '--help']);
    for (const key of SETTING_KEYS) assert.ok(out.includes(`${flagName(key)} <`), key);
    assert.match((await run(['--help'])).out, /Exit codes:\n {2}0 /);
  });

  it('refuses unknown commands and options, and suggests the nearest one', async () => {
    assert.deepEqual(await run(['noed']), {
      code: 2,
      out: '',
      err: "weir: unknown command 'noed'\n(Did you mean node?)\n",
    });
    const { code, err } = await run(['node', '--mirror-listn', 'x']);
    assert.equal(code, 2);
    assert.match(err, /^weir: unknown option '--mirror-listn'\n\(Did you mean --mirror-listen\?\)/);
    assert.equal((await run([])).code, 2);
    assert.equal((await run(['pull'])).code, 2);
  });

  it('prints the version', async () => {
    assert.match((await run(['version'])).out, /^weir 1\.2\.3 \(Node\.js v\d+\..*\)\n$/);
    assert.deepEqual(Object.keys(JSON.parse((await run(['version', '--json'])).out) as object), [
      'version',
      'node',
      'platform',
    ]);
  });

  it('refuses a wrong configuration before anything starts', async () => {
    const { code, err } = await run(['node', '--tags-ttl', '5', '--mirror-listen', ':80'], {
      WEIR_LOG_LEVEL: 'loud',
    });
    assert.equal(code, 2);
    assert.match(
      err,
      /^weir: the configuration is not valid:\n {2}mirror\.listen: .*\n {2}tags\.ttl: .*\n {2}log\.level: /,
    );
  });

  it('completes commands, options and values', async () => {
    // The library writes to the console.
    const log = console.log;
    const lines: string[] = [];
    console.log = (line: string) => void lines.push(line);
    try {
      await run(['complete', '--', 'ver']);
      await run(['complete', '--', 'node', '--log-level', 'd']);
      await run(['complete', '--', 'status', '--']);
      await run(['complete', 'bash']);
    } finally {
      console.log = log;
    }
    assert.ok(lines.includes('version\tPrint the version'), lines.join('\n'));
    assert.ok(lines.some((line) => line.startsWith('debug')));
    assert.ok(lines.some((line) => line.startsWith('--watch')));
    assert.ok(lines.some((line) => line.includes('bash completion for weir')));
  });
});

describe('weir config', () => {
  let directory = '';
  before(async () => (directory = await mkdtemp(join(tmpdir(), 'weir-test-'))));
  after(() => rm(directory, { recursive: true }));

  it('prints values and their sources', async () => {
    const file = join(directory, 'weir.yaml');
    await writeFile(file, 'tags:\n  ttl: 1m\n');
    const lists = ['--mirror-listen', '127.0.0.1:1', '--mirror-listen', '127.0.0.1:2'];
    const { code, out } = await run(['config', '--json', '--config', file, ...lists], {
      WEIR_LOG_LEVEL: 'debug',
    });
    const settings = JSON.parse(out) as Record<string, unknown>;
    assert.equal(code, 0);
    assert.deepEqual(settings['tags.ttl'], { value: '1m', origin: `file ${file}:2` });
    assert.deepEqual(settings['log.level'], { value: 'debug', origin: 'environment WEIR_LOG_LEVEL' });
    assert.deepEqual(settings['mirror.listen'], {
      value: ['127.0.0.1:1', '127.0.0.1:2'],
      origin: 'flag --mirror-listen',
    });
  });

  it('--check prints problems only', async () => {
    const nothing = { WEIR_CONFIG: '/dev/null' };
    assert.deepEqual(await run(['config', '--check'], nothing), { code: 0, out: '', err: '' });
    assert.equal((await run(['config', '--check', '--tags-ttl', '5'], nothing)).code, 2);
    const warned = await run(['config', '--check'], { ...nothing, WEIR_TAG_TTL: '5s' });
    assert.equal(warned.code, 0);
    assert.match(
      warned.err,
      /^weir: warning: environment WEIR_TAG_TTL: no such setting; did you mean WEIR_TAGS_TTL\?\n$/,
    );
  });

  it('fails without the named file', async () => {
    const { code, err } = await run(['config', '--config', join(directory, 'none')]);
    assert.equal(code, 2);
    assert.match(err, /none: no such configuration file \(flag --config\)/);
  });
});

describe('weir pull', () => {
  let directory = '';
  before(async () => (directory = await mkdtemp(join(tmpdir(), 'weir-test-'))));
  after(() => rm(directory, { recursive: true }));
  const env = { WEIR_CONFIG: '/dev/null', HOME: '/nonexistent' };

  it('pulls, and prints the bytes of each source', async () => {
    await using registry = await EmbeddedRegistry.start();
    registry.add('a', 'v1', await generateImage(directory, { seed: 'c', layers: [1000] }));
    const { code, out } = await run(['pull', `${registry.host}/a:v1`, '--direct'], env);
    assert.equal(code, 0);
    assert.match(out, /3 digests checked\n.* from registry\n$/);
    const json = await run(['pull', `${registry.host}/a:v1`, '--mirror', registry.url.href, '--json'], env);
    assert.equal((JSON.parse(json.out) as { blobs: unknown[] }).blobs.length, 3);
    assert.equal((await run(['pull', `${registry.host}/a:v2`, '--direct'], env)).code, 1);
  });

  it('says how to start a node if none answers', async () => {
    const { code, err } = await run(['pull', 'alpine', '--mirror', 'http://127.0.0.1:1'], env);
    assert.equal(code, 1);
    assert.match(err, /^weir: no node answers at http:\/\/127\.0\.0\.1:1 \(start one with "weir node"/);
  });

  it('refuses wrong arguments as usage errors', async () => {
    for (const wrong of [['A b'], ['a', '--mirror', 'ftp://x'], ['a', '--platform', 'x'], ['a@b']]) {
      assert.equal((await run(['pull', ...wrong], env)).code, 2, wrong.join(' '));
    }
  });
});

describe('weir kubernetes', () => {
  it('zone: writes an empty file if the zone cannot be read, so that the node starts', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'weir-cli-'));
    try {
      const file = join(folder, 'zone');
      const { code, out, err } = await run(['kubernetes', 'zone', '--node', 'node-1', '--out', file]);
      assert.equal(code, 0);
      assert.equal(out, 'node-1 is in no zone\n');
      assert.match(err, /the zone of node-1 cannot be read: KUBERNETES_SERVICE_HOST is not set/);
      assert.equal(await readFile(file, 'utf8'), '');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('wait: fails outside of a pod, and refuses an invalid time-out', async () => {
    const wait = ['kubernetes', 'wait', '--namespace', 'weir', '--name', 'x'];
    const outside = await run(wait);
    assert.equal(outside.code, 1);
    assert.match(outside.err, /run this in a pod/);
    assert.equal((await run([...wait, '--timeout', 'soon'])).code, 2);
  });
});

describe('Exit codes', () => {
  it('differ for failures on which an operator acts', () => {
    const codes = [
      'config_invalid',
      'store_locked',
      'address_in_use',
      'digest_mismatch',
      'internal',
    ] as const;
    assert.deepEqual(
      codes.map((code) => exitCodeOf(new WeirError(code, ''))),
      [2, 3, 4, 5, 1],
    );
    assert.equal(exitCodeOf(new Error('x')), 1);
  });

  it('come with a message of one line that ends with its causes', () => {
    const error = new WeirError('store_unusable', 'cannot open it', { cause: new Error('no space left') });
    assert.equal(describeError(error), 'weir: cannot open it: no space left');
    assert.equal(describeError('text'), 'weir: text');
  });
});
