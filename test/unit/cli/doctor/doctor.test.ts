/** The command as a whole: it never throws, is bounded in time, and draws what it found. */
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { ok, skipped, warning, wrong } from '../../../../src/cli/doctor/check.ts';
import { configuration } from '../../../../src/cli/doctor/configuration.ts';
import { examine, reportBroken, runCheck, type DoctorReport } from '../../../../src/cli/doctor/doctor.ts';
import { renderDoctor } from '../../../../src/cli/doctor/view.ts';
import { runCli } from '../../../../src/cli/program.ts';
import { contextOf, NOWHERE } from './fixture.ts';

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
  const context = { version: '1', env: { WEIR_CONFIG: '/dev/null', ...env }, stdout, stderr };
  const code = await runCli(['doctor', '--host-root', NOWHERE.root, ...arguments_], context);
  return { code, out: stdout.text, err: stderr.text };
}

const REPORT: DoctorReport = {
  version: '1',
  checks: [
    { name: 'node', ...ok('it serves') },
    { name: 'cluster key', ...warning('none', 'make one') },
    {
      name: 'registry.example:5000',
      ...wrong('the certificate of the registry is not trusted', 'set its ca-file'),
    },
    { name: 'k3s', ...skipped('not on this machine') },
  ],
  counts: { ok: 1, warning: 1, wrong: 1, skipped: 1 },
};

describe('weir doctor', () => {
  it('never ends with the error of a check, nor waits for one that hangs', async () => {
    const context = contextOf();
    const failing = { name: 'a', run: () => Promise.reject(new Error('boom')) };
    const failed = await runCheck(failing, context);
    assert.deepEqual([failed.state, failed.found], ['wrong', 'the check failed: boom']);
    const hanging = await runCheck(
      { name: 'b', run: () => delay(60_000, ok(''), { ref: false }) },
      context,
      50,
    );
    assert.deepEqual([hanging.state, hanging.found], ['wrong', 'no result within 0.05 s']);
  });

  it('runs all checks if nothing answers', async () => {
    const report = await examine(contextOf());
    assert.equal(
      report.checks.length,
      Object.values(report.counts).reduce((a, b) => a + b),
    );
    assert.deepEqual(
      report.checks.filter(({ state }) => state === 'wrong').map(({ name }) => name),
      ['node'],
    );
  });

  it('ends with 6 if something is wrong, and prints the report as JSON', async () => {
    const { code, out, err } = await run(['--admin', '127.0.0.1:1', '--json', '--data-dir', '/tmp']);
    assert.deepEqual([code, err], [6, '']);
    const report = JSON.parse(out) as DoctorReport;
    assert.equal(report.counts.wrong, 1);
    const { state, cure } = report.checks.find(({ name }) => name === 'node') ?? {};
    assert.deepEqual([state, /systemctl start weir/.test(cure ?? '')], ['wrong', true]);
  });

  it('shows a configuration that cannot be read as what is wrong', async () => {
    const { code, out } = await run([], { WEIR_TAGS_TTL: 'soon' });
    assert.equal(code, 6);
    assert.match(out, /^✘ configuration +tags\.ttl: "soon" .*\(environment WEIR_TAGS_TTL\)\n +→ mend it/);
    assert.equal(reportBroken('1', wrong('x')).checks.length, 1);
  });

  it('warns of variables that are no setting', async () => {
    const { state, found } = await configuration.run(
      contextOf({ warnings: ['environment WEIR_X: no such'] }),
    );
    assert.deepEqual([state, found], ['warning', 'environment WEIR_X: no such']);
  });

  it('refuses a wrong option', async () => {
    for (const wrongOption of [
      ['--registry', 'a b'],
      ['--admin', '4771'],
      ['--host-root', 'relative'],
    ]) {
      const { code, err } = await run(wrongOption);
      assert.equal(code, 2, `${wrongOption.join(' ')}: ${err}`);
    }
  });
});

describe('the report of weir doctor', () => {
  it('has a mark, a name and a text for each check, and its cure below', () => {
    assert.deepEqual(renderDoctor(REPORT, { columns: undefined, color: false }), [
      '✔ node                   it serves',
      '! cluster key            none',
      '                         → make one',
      '✘ registry.example:5000  the certificate of the registry is not trusted',
      '                         → set its ca-file',
      '– k3s                    not on this machine',
      '',
      '1 wrong, 1 warning, 1 right, 1 skipped',
    ]);
  });

  it('wraps at words in a terminal', () => {
    const lines = renderDoctor(REPORT, { columns: 60, color: true }).map(stripVTControlCharacters);
    assert.ok(lines.every((line) => line.length <= 60));
    assert.ok(lines.includes('✘ registry.example:5000  the certificate of the registry is'));
    assert.ok(lines.includes('                         not trusted'));
  });

  it('says so if nothing is wrong', () => {
    const checks = REPORT.checks.filter(({ state }) => state !== 'wrong');
    const lines = renderDoctor(
      { ...REPORT, checks, counts: { ...REPORT.counts, wrong: 0 } },
      { columns: 80, color: false },
    );
    assert.equal(lines.at(-1), 'nothing is wrong: 1 warning, 1 right, 1 skipped');
  });
});
