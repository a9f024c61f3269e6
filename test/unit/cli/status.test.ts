import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import type { CliContext } from '../../../src/cli/context.ts';
import { runCli } from '../../../src/cli/program.ts';
import { watchStatus, type StatusScreen } from '../../../src/cli/commands/status-watch.ts';
import { systemClock, type Clock } from '../../../src/util/clock.ts';
import { WeirError } from '../../../src/util/errors.ts';
import type { StatusReport } from '../../../src/status/status-report.ts';
import { fakeNode, statusOf } from '../status/fixture.ts';

class Sink extends Writable {
  text = '';
  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

async function run(
  arguments_: readonly string[],
  env: Record<string, string> = {},
): Promise<{ code: number; out: string; err: string }> {
  const [stdout, stderr] = [new Sink(), new Sink()];
  const context: CliContext = { version: '1', env: { WEIR_CONFIG: '/dev/null', ...env }, stdout, stderr };
  const code = await runCli(arguments_, context);
  return { code, out: stdout.text, err: stderr.text };
}

describe('weir status', () => {
  it('shows the report of the node, for people or as JSON', async () => {
    await using node = await fakeNode();
    const { code, out, err } = await run(['status', '--admin', node.address.host]);
    assert.deepEqual([code, err], [0, '']);
    assert.match(out, /^node {7}node-a .*\n(?:.*\n)*transfers {2}1 running/);
    const json = await run(['status', '--json', '--admin', node.address.href]);
    assert.deepEqual(JSON.parse(json.out), node.status);
  });

  it('asks the admin address of the configuration', async () => {
    await using node = await fakeNode();
    const { code, out } = await run(['status'], { WEIR_ADMIN_LISTEN: `0.0.0.0:${node.address.port}` });
    assert.equal(code, 0);
    assert.match(out, /node-a/);
  });

  it('asks the loopback address of several, as only that one gives reports', async () => {
    await using node = await fakeNode();
    const listen = `192.0.2.1:${node.address.port},127.0.0.1:${node.address.port}`;
    const { code, out } = await run(['status'], { WEIR_ADMIN_LISTEN: listen });
    assert.equal(code, 0);
    assert.match(out, /node-a/);
  });

  it('says what to check if no node answers', async () => {
    const { code, err } = await run(['status', '--admin', '127.0.0.1:1']);
    assert.equal(code, 1);
    assert.match(
      err,
      /^weir: no node answers at http:\/\/127\.0\.0\.1:1 \(flag --admin: is "weir node" running/,
    );
    const other = await run(['peers'], { WEIR_ADMIN_LISTEN: '127.0.0.1:1' });
    assert.equal(other.code, 1);
    assert.match(other.err, /\(environment WEIR_ADMIN_LISTEN: .*--admin\): connect ECONNREFUSED/);
  });

  it('refuses a value that is no address', async () => {
    for (const wrong of ['4771', 'a b:1', 'https://x:1', 'x:1/path', 'u@x:1', 'x:99999', '']) {
      const { code, err } = await run(['status', '--admin', wrong]);
      assert.equal(code, 2, wrong);
      assert.match(err, /is no address \(allowed: HOST:PORT/);
    }
    const { code, err } = await run(['status'], { WEIR_ADMIN_LISTEN: '127.0.0.1:0' });
    assert.equal(code, 2);
    assert.match(err, /port 0 \(environment WEIR_ADMIN_LISTEN\)/);
  });
});

describe('weir peers', () => {
  it('lists members, for people or as JSON', async () => {
    await using node = await fakeNode();
    const { code, out } = await run(['peers', '--admin', node.address.host]);
    assert.equal(code, 0);
    assert.deepEqual(
      out
        .trimEnd()
        .split('\n')
        .map((line) => line.split(' ', 1)[0]),
      ['NAME', 'node-2', 'node-3'],
    );
    const json = await run(['peers', '--json', '--admin', node.address.host]);
    assert.deepEqual(JSON.parse(json.out), node.peers);
  });
});

describe('weir status --watch', () => {
  const silent = new WeirError('upstream_unreachable', 'no node answers at http://n', {
    cause: new Error('refused'),
  });
  const stop = new Error('stop');

  /** What is written while these come, one after another; then it is stopped. */
  async function watch(
    answers: readonly (StatusReport | Error)[],
    more: { readonly json?: boolean; readonly isTTY?: boolean } = {},
  ): Promise<{ out: string; err: string }> {
    const queue = [...answers];
    const controller = new AbortController();
    let now = 0;
    const clock: Clock = {
      ...systemClock,
      monotonic: () => now,
      sleep: async (ms) => {
        now += ms;
        if (queue.length === 0) throw stop;
      },
    };
    const [output, problems] = [new Sink(), new Sink()];
    if (more.isTTY === true) Object.assign(output, { isTTY: true, columns: 80, rows: 8 });
    const screen: StatusScreen = {
      output,
      problems,
      json: more.json === true,
      render: (report, before) => [
        `${report.name}, ${before === undefined ? 'first' : `${before.seconds} s`}`,
      ],
    };
    const client = {
      origin: 'http://n',
      status: async () => {
        const next = queue.shift();
        if (next === undefined || next instanceof Error) throw next ?? stop;
        return next;
      },
    };
    await assert.rejects(watchStatus(client, screen, { clock, signal: controller.signal }), stop);
    return { out: output.text, err: problems.text };
  }

  it('writes blocks without a terminal, and reports once that the node is gone', async () => {
    const answers = [
      statusOf({ name: 'a' }),
      statusOf({ name: 'b' }),
      silent,
      silent,
      statusOf({ name: 'c' }),
    ];
    assert.deepEqual(await watch(answers), {
      out: 'a, first\n\nb, 2 s\n\nc, first\n',
      err: 'weir: no node answers at http://n; waiting for it (refused)\n',
    });
  });

  it('prints one line of JSON each time', async () => {
    const reports = [statusOf({ name: 'a' }), statusOf({ name: 'b' })];
    const { out } = await watch(reports, { json: true, isTTY: true });
    assert.deepEqual(
      out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
      reports,
    );
  });

  it('redraws in a terminal, and keeps the last picture below the message that the node is gone', async () => {
    const { out } = await watch([statusOf({ name: 'a' }), silent, silent], { isTTY: true });
    const text = stripVTControlCharacters(out);
    assert.match(text, /^a, first/);
    assert.match(
      text,
      /no node answers at http:\/\/n; waiting for it: 0 s \(refused\)\nLast report:\n\na, first/,
    );
  });

  it('ends after a failure of its own', async () => {
    const failure = new TypeError('x');
    const screen: StatusScreen = { output: new Sink(), problems: new Sink(), json: false, render: () => [] };
    const client = { origin: '', status: () => Promise.reject(failure) };
    const { signal } = new AbortController();
    await assert.rejects(watchStatus(client, screen, { clock: systemClock, signal }), failure);
  });
});
