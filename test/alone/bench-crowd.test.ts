/**
 * `bench crowd` as an operator runs it: eight real nodes, each in its own namespace, with the registry alone and with
 * Weir. The tests assert bytes, never times.
 */
import assert from 'node:assert/strict';
import { readdir, readFile, readlink, realpath, stat } from 'node:fs/promises';
import { MIB } from '../../src/util/clock.ts';
import type { CrowdReport } from '../../bench/crowd/report.ts';
import type { CrowdResult } from '../../bench/crowd/result.ts';
import type { BenchResult } from '../../bench/report/result.ts';
import { LOOPBACK } from '../../bench/crowd/network.ts';
import { startProgram } from '../../bench/crowd/systems/programs.ts';
import { onlyChild } from '../../bench/support/process-usage.ts';
import { BENCH, bench } from '../support/bench.ts';
import { Namespace } from '../support/namespace.ts';
import { describeResult, run, runOk } from '../support/program.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';

const NODES = 8;
const LAYERS = [4, 2, 1];
/** More bytes than the config, a few hundred, and the manifest have. */
const SMALL = 64 * 1024;
/**
 * Eight nodes and their runtimes share two cores with other work. A node that is held up rightly goes to the registry
 * instead of stalling, or its mirror leaves a blob to the registry. So one of three goes must keep the bound, with no
 * request past a mirror. A pull that fails ends the test.
 */
const GOES = 3;
const MAX_REGISTRY_RATIO = 1.15;

/** Figures that every result of every report has. */
const FIGURES = [
  'nodes',
  'image_bytes',
  'lower_bound_s',
  'makespan_s',
  'makespan_ratio',
  'p50_s',
  'p99_s',
  'registry_bytes',
  'registry_ratio',
  'registry_requests',
  'failures',
] as const satisfies readonly (keyof BenchResult)[];

async function crowd(out: string, systems: string): Promise<CrowdReport> {
  const layers = LAYERS.map((size) => `${size}MiB`).join(',');
  const size = ['--nodes', String(NODES), '--layers', layers, '--link', '100mbit', '--registry', '100mbit'];
  const options = [...size, '--repeat', '1', '--systems', systems, '--json'];
  const { report, stdout } = await bench('crowd', options, out);
  assert.deepEqual(JSON.parse(stdout), report, 'it prints the report that it writes');
  return report as CrowdReport;
}

function assertWhole(result: BenchResult): void {
  assert.deepEqual(result.failure_reasons, []);
  assert.equal(result.failures, 0);
  for (const figure of FIGURES) assert.ok(Number.isFinite(result[figure]), `${figure}: ${result[figure]}`);
  assert.equal(result.nodes, NODES);
  const image = LAYERS.reduce((sum, size) => sum + size * MIB, 0);
  assert.ok(Math.abs(result.image_bytes - image) < SMALL, `an image of ${result.image_bytes} bytes`);
  assert.equal(result.per_node.length, NODES);
  for (const { node, completed_s: completed, bytes } of result.per_node) {
    assert.ok(completed !== null, `${node} did not complete`);
    assert.ok(
      bytes.peers + bytes.registry >= result.image_bytes,
      `${node} counts fewer bytes than the image has`,
    );
  }
  assert.ok(result.registry_bytes >= result.image_bytes, 'the registry sent the image at least once');
}

const resultOf = ({ results }: CrowdReport, system: string): CrowdResult => {
  const found = results.find((result) => result.system === system);
  assert.ok(found !== undefined, `there is no result for ${system}`);
  return found;
};

requires(
  'docker-registry',
  'ip',
  'nft',
  'root',
)('bench crowd', () => {
  it('measures eight nodes with the registry alone and with Weir', async () => {
    await using dir = await TempDir.create('bench-crowd');
    const report = await crowd(dir.path, 'registry,weir');
    const registry = resultOf(report, 'registry');
    assertWhole(registry);
    assert.equal(registry.fallback_requests, null, 'there is no mirror to go past');
    assert.ok(
      Math.abs(registry.registry_ratio - NODES) < 0.1,
      `the registry sent ${registry.registry_ratio} images`,
    );
    const page = await readFile(dir.join('report.html'), 'utf8');
    assert.ok(page.includes('lower bound') && page.includes('<svg '), 'the page has its charts');
    let weir = resultOf(report, 'weir');
    for (let go = 1; ; go++) {
      assertWhole(weir);
      if (weir.registry_ratio <= MAX_REGISTRY_RATIO && weir.fallback_requests === 0) break;
      const reasons = weir.fallback_reasons.map(({ node, reason }) => `${node}: ${reason}`).join('; ');
      assert.ok(go < GOES, `the registry sent ${weir.registry_ratio} images; past the mirrors: ${reasons}`);
      weir = resultOf(await crowd(dir.path, 'weir'), 'weir');
    }
    assert.ok((weir.cpu_s_per_gib ?? 0) > 0 && (weir.rss_max_bytes ?? 0) > 0, 'CPU and memory were measured');
  });

  it('gives a program of another system its own folders, and ends the processes that it has started', async () => {
    await using dir = await TempDir.create('bench-own');
    const shared = dir.join('shared');
    const script = `
      const child = require('node:child_process').spawn('sleep', ['1000']);
      require('node:fs').writeFileSync('${shared}/file', '');
      require('node:http').createServer((_, response) => response.end(String(child.pid))).listen(8080);`;
    await using namespace = await Namespace.create();
    await runOk('ip', ['link', 'set', 'lo', 'up'], { within: namespace.enter });
    const place = { ...LOOPBACK, within: namespace.enter };
    const args = ['--eval', script];
    const wanted = { command: process.execPath, args, ownFolders: [shared], port: 8080 };
    const running = await startProgram(place, wanted);
    assert.deepEqual(await readdir(shared), [], 'the program writes to its own folder');
    assert.equal(await readlink(`/proc/${running.pid}/exe`), await realpath(process.execPath));
    const started = await onlyChild(running.pid);
    await running[Symbol.asyncDispose]();
    await assert.rejects(stat(`/proc/${started}`), { code: 'ENOENT' });
  });

  it('says that it needs root, and that --loopback does not', async () => {
    const nobody = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '--'];
    const result = await run(process.execPath, [BENCH, 'crowd', '--nodes', '2'], { within: nobody });
    assert.equal(result.code, 1, describeResult('bench crowd', result));
    assert.match(result.stderr, /needs root: .*--loopback/);
  });
});
