import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { request } from 'node:http';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { AdminToken } from '../../../src/daemon/admin-token.ts';
import { LogLevel, toggleAtSignal } from '../../../src/daemon/log-level.ts';
import type { LogLevelName } from '../../../src/status/log-level.ts';
import { TempDir } from '../../support/temp.ts';
import { ADMIN_TOKEN, fakeNode, type FakeNode } from '../status/fixture.ts';

/** A logger that notes the level at which it was told of a change. */
class Log {
  level = 'info';
  readonly told: string[] = [];

  warn(): void {
    this.told.push(this.level);
  }
}

function levelOf(configured: LogLevelName): { readonly log: Log; readonly level: LogLevel } {
  const log = new Log();
  log.level = configured;
  return { log, level: new LogLevel(log, configured) };
}

describe('The level of the log', () => {
  it('is changed, and told in a log that shows warnings', () => {
    const { log, level } = levelOf('info');
    level.change('debug', 'test');
    level.change('debug', 'test');
    level.change('silent', 'test');
    level.change('error', 'test');
    level.change('info', 'test');
    assert.deepEqual(log.told, ['debug', 'debug', 'silent', 'info']);
    assert.deepEqual(level.report, { level: 'info', configured: 'info' });
  });

  it('is that of the configuration again when it has another one', () => {
    const { log, level } = levelOf('info');
    level.change('trace', 'test');
    level.configure('warn');
    assert.deepEqual([log.level, level.report], ['warn', { level: 'warn', configured: 'warn' }]);
    level.toggleDebug('test');
    level.toggleDebug('test');
    assert.equal(log.level, 'warn');
  });

  it('is toggled by a signal, between debug and what is configured', () => {
    const { log, level } = levelOf('warn');
    const process = new EventEmitter();
    const toggling = toggleAtSignal(level, process);
    const seen = [1, 2, 3].map(() => process.emit('SIGUSR2') && log.level);
    assert.deepEqual(seen, ['debug', 'warn', 'debug']);
    toggling[Symbol.dispose]();
    assert.equal(process.emit('SIGUSR2'), false);
    const talkative = levelOf('debug');
    talkative.level.toggleDebug('test');
    assert.equal(talkative.log.level, 'info');
  });
});

describe('The admin token', () => {
  it('is made once, for the user of the node alone', async () => {
    await using dir = await TempDir.create('token');
    const path = dir.join('admin-token');
    const fail = (message: string): never => assert.fail(message);
    await AdminToken.load(path, fail);
    const token = (await readFile(path, 'utf8')).trim();
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    const again = await AdminToken.load(path, fail);
    assert.ok(again.isGivenBy(`Bearer ${token}`));
    for (const wrong of [
      undefined,
      '',
      token,
      `Basic ${token}`,
      `Bearer ${'a'.repeat(43)}`,
      `Bearer ${token}x`,
    ]) {
      assert.ok(!again.isGivenBy(wrong), wrong ?? 'none');
    }
    await writeFile(path, 'half a tok');
    const renewed = await AdminToken.load(path, fail);
    assert.ok(!renewed.isGivenBy('Bearer half a tok'));
    assert.ok(renewed.isGivenBy(`Bearer ${(await readFile(path, 'utf8')).trim()}`));
  });

  it('is nobody’s if it cannot be written, and the node is told', async () => {
    const problems: string[] = [];
    const token = await AdminToken.load('/proc/admin-token', (message) => void problems.push(message));
    assert.match(problems.join(), /^the admin token \/proc\/admin-token cannot be used: /);
    assert.ok(!token.isGivenBy('Bearer undefined'));
    assert.ok(!token.isGivenBy(`Bearer ${'a'.repeat(43)}`));
  });
});

interface Ask {
  readonly method?: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string | undefined>>;
}

/** A request as a program sends it; fetch would not let a test set Origin or Host. */
async function ask(
  node: FakeNode,
  { method = 'PUT', body = '{"level":"debug"}', headers }: Ask = {},
): Promise<number> {
  const all = {
    authorization: `Bearer ${ADMIN_TOKEN}`,
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(body)),
    ...headers,
  };
  const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const sent = request(new URL('/v1/log-level', node.address), { method, headers: given }, (response) => {
    text(response).then(() => resolve(response.statusCode ?? 0), reject);
  });
  sent.once('error', reject);
  sent.end(body);
  return promise;
}

describe('PUT /v1/log-level', () => {
  it('changes the level', async () => {
    await using node = await fakeNode();
    assert.equal(await ask(node), 200);
    assert.equal(node.logger.level, 'debug');
  });

  it('is refused without the token, from web pages, and if it is no such change', async () => {
    await using node = await fakeNode();
    const refused: readonly (readonly [number, Ask])[] = [
      [401, { headers: { authorization: undefined } }],
      [401, { headers: { authorization: `Bearer ${'b'.repeat(43)}` } }],
      [403, { headers: { origin: 'http://evil.example' } }],
      [403, { headers: { origin: node.address.origin } }],
      [403, { headers: { 'sec-fetch-site': 'cross-site' } }],
      [403, { headers: { host: 'evil.example' } }],
      [405, { method: 'POST' }],
      [405, { method: 'OPTIONS' }],
      [415, { headers: { 'content-type': 'text/plain' } }],
      [415, { headers: { 'content-type': undefined } }],
      [400, { body: '' }],
      [400, { body: '{"level":"loud"}' }],
      [400, { body: '{"level":"debug","more":1}' }],
      [400, { body: '["debug"]' }],
      [413, { body: JSON.stringify({ level: 'x'.repeat(5_000) }) }],
    ];
    for (const [status, wrong] of refused) {
      assert.equal(await ask(node, wrong), status, JSON.stringify(wrong).slice(0, 100));
    }
    assert.equal(node.logger.level, 'info');
  });
});
