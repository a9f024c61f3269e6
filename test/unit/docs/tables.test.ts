/** Pages that list things of the code must list all of them, and no others. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Metrics } from '../../../src/daemon/metrics.ts';
import { ERROR_CODES } from '../../../src/util/errors.ts';
import { IDLE_SOURCES } from '../../support/metrics.ts';

const DOCS = join(import.meta.dirname, '../../../docs');
const KEPT = join(import.meta.dirname, '../../../bench/results');
/** A page that a reader takes in at once. */
const MAX_BENCHMARK_LINES = 160;

/** The rows of a page's table whose first cell is code: `| \`x\` | a | b |` gives x, a and b. */
async function tableOf(page: string): Promise<readonly string[][]> {
  const text = await readFile(join(DOCS, page), 'utf8');
  return text
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').slice(1, -1));
}

/** A cell without its code marks: `a`, `b`. */
const plain = (cell = ''): string => cell.replaceAll('`', '').trim();

const byName = (a: readonly unknown[], b: readonly unknown[]): number =>
  String(a[0]).localeCompare(String(b[0]));

describe('Reference pages', () => {
  it('errors.md lists each code with its fault and status', async () => {
    const listed = (await tableOf('errors.md')).map(([code, fault, status]) => [
      plain(code),
      plain(fault),
      Number(status),
    ]);
    const known = Object.entries(ERROR_CODES).map(([code, { fault, status }]) => [code, fault, status]);
    assert.deepEqual(listed, known);
  });

  it('metrics.md lists each metric with its type and labels', async () => {
    const listed = (await tableOf('metrics.md')).map(([name, type, labels]) => [
      plain(name),
      plain(type),
      plain(labels).split(', ').filter(Boolean),
    ]);
    const metrics = new Metrics({ version: 'test', name: 'node', zone: 'zone' }, IDLE_SOURCES);
    const own = metrics.registry
      .getMetricsAsArray()
      .filter(({ name }) => name.startsWith('weir_'))
      .map((metric) => [
        metric.name,
        String(metric.type),
        (metric as { labelNames?: string[] }).labelNames ?? [],
      ]);
    assert.deepEqual(listed.toSorted(byName), own.toSorted(byName));
  });

  it('benchmarks.md is made from each kept result, and is short', async () => {
    const page = await readFile(join(DOCS, 'benchmarks.md'), 'utf8');
    const kept = (await readdir(KEPT)).filter((name) => name.endsWith('.json'));
    const linked = [...page.matchAll(/\]\(\.\.\/bench\/results\/([^)]+\.json)\)/g)].map(
      ([, name = '']) => name,
    );
    assert.deepEqual(linked.toSorted(), kept.toSorted());
    const lines = page.trimEnd().split('\n').length;
    assert.ok(lines <= MAX_BENCHMARK_LINES, `${lines} lines`);
  });
});
