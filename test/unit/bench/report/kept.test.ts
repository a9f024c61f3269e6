import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { keepReport } from '../../../../bench/report/keep.ts';
import { keptFile, parseKept, readKept } from '../../../../bench/report/kept.ts';

interface Report {
  results: Record<string, unknown>[];
  settings: Record<string, unknown>;
  [field: string]: unknown;
}

const read = async (name: string): Promise<Report> =>
  JSON.parse(await readFile(keptFile(name), 'utf8')) as Report;

const WISH = { commit: '0123abc', versions: {} };

describe('bench/report/kept', () => {
  it('names the file and the field that a kept result lacks', async () => {
    const crowd = await read('crowd-1gbit');
    delete crowd.results[1]?.['rss_idle_bytes'];
    assert.throws(() => parseKept(crowd, 'crowd', 'x.json'), /^Error: x\.json: results\.1\.rss_idle_bytes: /);
    const node = await read('node');
    delete node['latency'];
    assert.throws(() => parseKept(node, 'node', 'x.json'), /^Error: x\.json: latency: /);
    const { commit: _, ...uncommitted } = await read('transfer');
    assert.throws(() => parseKept(uncommitted, 'transfer', 'x.json'), /^Error: x\.json: commit: /);
  });

  it('refuses the result of another question, and a figure that is no number', async () => {
    await assert.rejects(readKept('node', 'crowd'), /node\.json: question: /);
    const simulated = await read('simulate-1gbit');
    Object.assign(simulated.results[0] ?? {}, { makespan_s: null });
    assert.throws(() => parseKept(simulated, 'simulate', 'x.json'), /results\.0\.makespan_s: /);
  });
});

describe('bench/report/keep', () => {
  it('drops curves and paths, and keeps every figure', async () => {
    const { commit: _, ...report } = await read('crowd-1gbit');
    const curve = [
      [0, 1],
      [1, 2],
    ];
    const full = {
      ...report,
      settings: { ...report.settings, 'spegel-bin': '/somewhere/spegel', 'kraken-bin-dir': null },
      results: report.results.map((result) => Object.assign({}, result, { registry_curve: curve })),
    };
    const wish = { commit: '0123abc', versions: { kraken: '0.1.4' } };
    const kept = JSON.parse(keepReport(full, wish, 'x')) as Report;
    assert.equal(kept['commit'], '0123abc');
    assert.deepEqual(kept['versions'], { ...(report['versions'] as object), kraken: '0.1.4' });
    assert.deepEqual(kept.settings, report.settings);
    assert.deepEqual(kept.results, report.results);
  });

  it('drops simulated nodes one by one, and all samples of a churn but three', async () => {
    const simulated = await read('simulate-1gbit');
    Object.assign(simulated.results[0] ?? {}, { per_node: [{ node: 'node-1' }] });
    const { results } = JSON.parse(keepReport(simulated, WISH, 'x')) as Report;
    assert.deepEqual(results[0]?.['per_node'], []);
    const churn = await read('simulate-churn');
    const samples = [0, 1, 2, 3, 4].map((second) => [second, 10 * second]);
    Object.assign(churn.results[0] ?? {}, { series: { store: samples } });
    const kept = JSON.parse(keepReport(churn, WISH, 'x')) as Report;
    assert.deepEqual(kept.results[0]?.['series'], { store: [samples[0], samples[2], samples[4]] });
  });

  it('refuses a report that no table shows, that lacks a field, or that is too large', async () => {
    assert.throws(() => keepReport({ question: 'weather' }, WISH, 'x'), /x: there is no table for question/);
    const node = await read('node');
    delete node['memory'];
    assert.throws(() => keepReport(node, WISH, 'x'), /^Error: x: memory: /);
    const crowd = await read('crowd-1gbit');
    const many = { ...crowd, results: Array.from({ length: 20 }, () => crowd.results).flat() };
    assert.throws(() => keepReport(many, WISH, 'x'), /x: \d+ bytes, more than 100000/);
  });
});
