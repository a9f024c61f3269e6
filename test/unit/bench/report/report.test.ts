import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MIB } from '../../../../src/util/clock.ts';
import { chartsOf } from '../../../../bench/report/charts.ts';
import { groupResults } from '../../../../bench/report/group.ts';
import { writeReport, type BenchReport } from '../../../../bench/report/report.ts';
import type { BenchResult, NodeResult } from '../../../../bench/report/result.ts';
import { completionCurve, sourceBars } from '../../../../bench/report/series.ts';
import { renderTable } from '../../../../bench/report/table.ts';
import { TempDir } from '../../../support/temp.ts';

function node(index: number, completed: number | null): NodeResult {
  return {
    node: `node-${index}`,
    zone: 'a',
    started_s: 0,
    completed_s: completed,
    first_byte_s: 0.1,
    bytes: { peers: index * MIB, registry: MIB },
    sent_bytes: MIB,
    cross_zone_bytes: 0,
    connections: 9,
    rss_bytes: null,
  };
}

function result(changes: Partial<BenchResult>): BenchResult {
  return {
    system: 'weir',
    nodes: 4,
    turn: 1,
    seed: 1,
    image_bytes: 10 * MIB,
    lower_bound_s: 2,
    makespan_s: 2.5,
    makespan_ratio: 1.25,
    p50_s: 2,
    p99_s: 2.5,
    first_byte_p50_s: 0.1,
    registry_bytes: 10 * MIB,
    registry_ratio: 1,
    registry_requests: 5,
    cross_zone_bytes: 0,
    cpu_s_per_gib: null,
    rss_max_bytes: null,
    connections_max: 9,
    failures: 0,
    failure_reasons: [],
    per_node: [node(0, 2), node(1, 1), node(2, null), node(3, 2.5)],
    registry_curve: [
      [0, 0],
      [1, 4 * MIB],
      [2, 10 * MIB],
    ],
    ...changes,
  };
}

function report(results: readonly BenchResult[], warnings: readonly string[] = []): BenchReport {
  const facts = { cpu: 'CPU', cores: 2, memory: 2 ** 34, kernel: 'Linux', node: 'v26', loadBefore: 0 };
  return {
    question: 'simulate',
    startedAt: '2026-01-01T00:00:00.000Z',
    machine: { ...facts, programs: {} },
    settings: { nodes: [4], registry: '<fast>' },
    versions: { weir: '0.1.0' },
    warnings,
    results,
  };
}

describe('bench/report', () => {
  it('writes JSON, a page that loads nothing, and the charts', async () => {
    await using folder = await TempDir.create('report');
    const given = report([result({})]);
    const files = await writeReport(folder.path, given);
    assert.deepEqual(
      (await readdir(folder.path)).map((name) => join(folder.path, name)).sort(),
      [...files].sort(),
    );
    assert.deepEqual(JSON.parse(await readFile(join(folder.path, 'report.json'), 'utf8')), given);
    const page = await readFile(join(folder.path, 'report.html'), 'utf8');
    assert.ok(!/<script|<link|src=|href="http|url\((?!#)/.test(page), 'it loads something');
    assert.ok(page.includes('&lt;fast&gt;'), 'text is escaped');
    assert.equal(page.match(/<svg /g)?.length, 3);
    assert.ok(page.includes('lower bound'));
  });

  it('shows warnings, reasons of failures and the ratio of systems', () => {
    const failed = result({ failures: 1, failure_reasons: [{ node: 'node-2', reason: 'it hung' }] });
    const registry = result({ system: 'registry', makespan_s: 5, registry_bytes: 40 * MIB });
    const text = renderTable(report([registry, failed], ['the CPU was the bound']));
    assert.match(text, /failed: weir, turn 1, node-2: it hung/);
    assert.match(text, /weir over registry: makespan 0\.500, p50 1\.000, registry bytes 0\.250/);
    assert.match(text, /warning: the CPU was the bound/);
  });

  it('lets the turn with the median makespan stand for all', () => {
    const turns = [3, 9, 4].map((seconds, at) => result({ turn: at + 1, makespan_s: seconds }));
    assert.equal(groupResults(turns)[0]?.typical.makespan_s, 4);
  });

  it('draws the same SVG from the same results, the ratio where there are several sizes', () => {
    const results = [result({}), result({ nodes: 8 })];
    const charts = chartsOf(results);
    assert.deepEqual(charts, chartsOf(results));
    assert.deepEqual(
      charts.map(({ name }) => name),
      ['ratio', 'completion', 'registry', 'sources-1', 'sources-2'],
    );
    for (const { svg } of charts) assert.match(svg, /^<svg[^>]*><style>:root\{/);
  });

  it('never draws a failed node as complete', () => {
    const points = completionCurve(result({}));
    assert.deepEqual(points, [
      [0, 0],
      [1, 25],
      [2, 50],
      [2.5, 75],
    ]);
  });

  it('lets many nodes share a bar, as their mean', () => {
    const nodes = Array.from({ length: 200 }, (_, index) => node(index, index));
    const bars = sourceBars(result({ per_node: nodes }));
    assert.equal(bars.length, 100);
    assert.deepEqual(bars[0], { name: 'nodes 1 to 2', peers: 0.5, registry: 1 });
  });
});
