/** The dashboard names what exists. */
import assert from 'node:assert/strict';
import { Metrics } from '../../../src/daemon/metrics.ts';
import { readDashboard } from '../../support/monitoring.ts';

/** Labels that Prometheus and the chart's ServiceMonitor give to a target; `le` is that of histograms. */
const TARGET_LABELS = new Set(['cluster', 'namespace', 'job', 'instance', 'node', 'le']);
/** What an expression may name beside metrics of the program. */
const OF_PROMETHEUS = new Set(['up', 'ALERTS']);
/** A name that could be a metric's: that of a function or a keyword stands before a parenthesis or a blank. */
const METRIC = /\b(?:(?:weir|nodejs|process)_\w+|up|ALERTS)\b(?:\{([^}]*)\})?/g;

/** The labels of each metric, as a node exports it. */
function exported(): ReadonlyMap<string, readonly string[]> {
  const metrics = new Metrics({ version: 'test', name: 'node', zone: 'zone' }, {
    usage: () => ({ blobs: 0, blobBytes: 0, partials: 0, partialBytes: 0, quota: 0 }),
  } as ConstructorParameters<typeof Metrics>[1]);
  const found = new Map<string, readonly string[]>();
  for (const metric of metrics.registry.getMetricsAsArray()) {
    const { labelNames = [] } = metric as { labelNames?: string[] };
    const suffixes = String(metric.type) === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
    for (const suffix of suffixes) found.set(metric.name + suffix, labelNames);
  }
  return found;
}

/** Metrics and labels of an expression that no node has. */
function unknownIn(expr: string, known: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const unknown: string[] = [];
  for (const [text, selector = ''] of expr.matchAll(METRIC)) {
    const [name = ''] = text.split('{');
    if (OF_PROMETHEUS.has(name)) continue;
    const own = known.get(name);
    if (own === undefined) unknown.push(name);
    for (const [, label = ''] of selector.matchAll(/(\w+)\s*[=!]/g))
      if (own?.includes(label) === false && !TARGET_LABELS.has(label)) unknown.push(`${name}{${label}}`);
  }
  return unknown;
}

describe("Grafana's dashboard", () => {
  it('names only metrics and labels that a node exports', async () => {
    const { panels, templating, annotations } = await readDashboard();
    const known = exported();
    const exprs = [
      ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
      ...templating.list.map(({ definition = '' }) => definition),
      ...annotations.list.map(({ expr }) => expr),
    ].filter((expr) => expr !== '');
    assert.ok(exprs.length >= 40, `${exprs.length} expressions`);
    for (const expr of exprs) assert.deepEqual(unknownIn(expr, known), [], expr);
  });

  it('shows each metric, but for a few', async () => {
    const text = JSON.stringify(await readDashboard());
    const names = [...exported().keys()].filter((name) => name.startsWith('weir_'));
    const own = new Set(names.map((name) => name.replace(/_(bucket|sum|count)$/, '')));
    assert.deepEqual(
      [...own].filter((name) => !text.includes(name)),
      // Its version is in weir_node_info; counts of blobs say less than their bytes.
      ['weir_build_info', 'weir_store_blobs', 'weir_runtime_blobs'],
    );
  });

  it('can be asked by cluster, zone and node, in each panel', async () => {
    const { panels, templating } = await readDashboard();
    const names = templating.list.map(({ name }) => name);
    assert.deepEqual(names, ['datasource', 'cluster', 'zone', 'node']);
    for (const { name, type, allValue } of templating.list)
      if (type === 'query') assert.equal(allValue, '.*', `${name}: a label that is missing must match, too`);
    for (const { title, targets = [] } of panels) {
      for (const { expr } of targets)
        for (const name of ['$cluster', '$zone', '$node'])
          assert.ok(expr.includes(`"${name}"`), `${title}: ${name}`);
    }
  });

  it('explains each panel, with a unit, from the chosen data source, and none covers another', async () => {
    const { panels } = await readDashboard();
    const source = { type: 'prometheus', uid: '${datasource}' };
    const shown = panels.filter(({ type }) => type !== 'row');
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    assert.equal(new Set(panels.map(({ title }) => title)).size, panels.length);
    for (const { title, description = '', fieldConfig, datasource, targets = [] } of shown) {
      assert.ok(description.length > 20, title);
      assert.ok(fieldConfig?.defaults.unit !== undefined, title);
      for (const each of [datasource, ...targets.map((target) => target.datasource)])
        assert.deepEqual(each, source, title);
    }
    const taken = new Set<string>();
    for (const { title, gridPos } of panels) {
      assert.ok(gridPos.x + gridPos.w <= 24, title);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          assert.ok(!taken.has(`${x},${y}`), `${title} covers another panel`);
          taken.add(`${x},${y}`);
        }
      }
    }
  });
});
