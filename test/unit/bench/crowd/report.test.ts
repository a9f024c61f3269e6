import assert from 'node:assert/strict';
import { crowdRows, renderCrowd, reportOf, warningsOf } from '../../../../bench/crowd/report.ts';
import type { CrowdResult } from '../../../../bench/crowd/result.ts';
import { IMAGE, settingsOf } from './settings.ts';

const RESULT: CrowdResult = {
  system: 'weir',
  nodes: 20,
  turn: 1,
  seed: 1,
  image_bytes: IMAGE,
  lower_bound_s: 4,
  makespan_s: 5,
  makespan_ratio: 1.25,
  p50_s: 4.5,
  p99_s: 5,
  later_p50_s: null,
  first_byte_p50_s: null,
  registry_bytes: IMAGE,
  registry_ratio: 1,
  registry_wire_bytes: 1.1 * IMAGE,
  link_ratio: 1.16,
  registry_requests: 9,
  registry_connections_max: 4,
  fallback_requests: 0,
  fallback_bytes: 0,
  fallback_reasons: [],
  cross_zone_bytes: 0,
  cpu_s_per_gib: 5,
  main_cpu_s_per_gib: 3.5,
  loop_p99_ms: 7,
  cpu_busy: 0.5,
  cpu_stolen: 0,
  start_s: 10,
  known_s: 2,
  start_cpu_s: 20,
  rss_idle_bytes: 1,
  private_idle_bytes: 1,
  rss_max_bytes: 2,
  connections_max: 3,
  died: 0,
  slow: 0,
  failures: 0,
  failure_reasons: [],
  versions: { weir: '0.1.0' },
  per_node: [
    {
      node: 'node-1',
      zone: '',
      started_s: 0,
      completed_s: 5,
      first_byte_s: null,
      bytes: { peers: IMAGE, registry: 0 },
      sent_bytes: 0,
      cross_zone_bytes: 0,
      connections: 3,
      rss_bytes: 2,
    },
  ],
  registry_curve: [],
};
const MACHINE = {
  cpu: 'CPU',
  cores: 2,
  memory: 1,
  kernel: 'Linux',
  node: 'v26',
  loadBefore: 0,
  programs: {},
};

describe('bench/crowd/report', () => {
  it('warns of a busy CPU, of stolen CPU time, and of failures', () => {
    assert.deepEqual(warningsOf(settingsOf(), [RESULT]), []);
    const [busy, stolen, failed] = warningsOf(settingsOf(), [
      { ...RESULT, cpu_busy: 0.86 },
      { ...RESULT, turn: 2, cpu_stolen: 0.2 },
      { ...RESULT, turn: 3, failures: 2 },
    ]);
    assert.match(busy ?? '', /weir, turn 1: the CPU was 86 % busy/);
    assert.match(stolen ?? '', /turn 2: the hypervisor took 20 %/);
    assert.match(failed ?? '', /turn 3: .*2 pulls.* failed/);
  });

  it('marks a run on loopback, and names no rates for it', () => {
    const report = reportOf('2026-01-01T00:00:00.000Z', MACHINE, settingsOf({ loopback: true }), [RESULT]);
    assert.match(report.warnings[0] ?? '', /^loopback: no link was shaped/);
    assert.equal(report.settings['link'], null);
    assert.equal(report.settings['loopback'], true);
    assert.match(renderCrowd(report), /WARNING loopback/);
  });

  it('has a column for each system with the median and the range of its turns', () => {
    const turn = (makespan: number): CrowdResult => ({ ...RESULT, makespan_s: makespan });
    const rows = crowdRows([{ ...RESULT, system: 'registry' }, turn(5), turn(7), turn(6)]);
    assert.deepEqual(rows[0], ['', 'registry', 'weir']);
    assert.deepEqual(
      rows.find(([name]) => name === 'makespan, s'),
      ['makespan, s', '5.0', '6.0 (5.0–7.0)'],
    );
    assert.deepEqual(
      rows.find(([name]) => name === '  on main threads of nodes'),
      ['  on main threads of nodes', '3.50', '3.50'],
    );
    assert.deepEqual(
      rows.find(([name]) => name === 'first byte p50, s'),
      ['first byte p50, s', '–', '–'],
    );
  });

  it('has no times for turns in which nothing arrived', () => {
    const [first] = RESULT.per_node;
    const none = first === undefined ? [] : [{ ...first, completed_s: null }];
    const rows = crowdRows([{ ...RESULT, per_node: none, failures: 20 }]);
    assert.deepEqual(
      rows.find(([name]) => name === 'makespan, s'),
      ['makespan, s', '–'],
    );
  });

  it('names settings, versions, ratios, and the reasons of failures and of requests past a mirror', () => {
    const failed = {
      ...RESULT,
      makespan_s: 10,
      failures: 1,
      failure_reasons: [{ node: 'node-2', reason: 'it hung' }],
      fallback_reasons: Array.from({ length: 7 }, () => ({ node: 'node-1', reason: 'status 404' })),
    };
    const report = reportOf('2026-01-01T00:00:00.000Z', MACHINE, settingsOf({ kill: 0.05 }), [
      { ...RESULT, system: 'registry', fallback_requests: null },
      failed,
    ]);
    assert.equal(report.settings['link'], '20mbit');
    assert.equal(report.settings['start'], 'simultaneous');
    assert.equal(report.settings['kill'], 0.05);
    assert.equal(report.versions['weir'], '0.1.0');
    const text = renderCrowd(report);
    assert.match(text, /failed: weir, turn 1, node-2: it hung/);
    assert.match(text, /past the mirror: weir, turn 1, node-1: status 404/);
    assert.match(text, /past the mirror: weir, turn 1: 2 more/);
    assert.match(text, /past the mirrors +– +0/);
    assert.match(text, /weir over registry: makespan 2\.000/);
  });
});
