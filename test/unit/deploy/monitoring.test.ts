/** The alerts, their runbooks and the dashboard: each names what exists, and nothing is without its counterpart. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { parseManifests, template, type Manifest } from '../../../deploy/helm.ts';
import { Metrics } from '../../../src/daemon/metrics.ts';
import { ALERTS_FILE, readAlerts, readDashboard } from '../../support/monitoring.ts';
import { runOk } from '../../support/program.ts';
import { requires } from '../../support/requires.ts';

const DOCS = join(import.meta.dirname, '../../../docs');
const CASES = join(import.meta.dirname, 'alerts.promtool.yaml');
const SEVERITIES = new Set(['info', 'warning', 'critical']);
/** Labels that Prometheus and the chart's ServiceMonitor give to a target; `le` is that of histograms. */
const TARGET_LABELS = new Set(['cluster', 'namespace', 'job', 'instance', 'node', 'le']);
/** What an expression may name beside metrics of the program. */
const OF_PROMETHEUS = new Set(['up', 'ALERTS']);
/** A name that could be a metric's: that of a function or a keyword stands before a parenthesis or a blank. */
const METRIC = /\b(?:(?:weir|nodejs|process)_\w+|up|ALERTS)\b(?:\{([^}]*)\})?/g;

interface Cases {
  readonly tests: readonly {
    readonly promql_expr_test: readonly { readonly expr: string; readonly exp_samples: readonly unknown[] }[];
  }[];
}

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

/** The text of each section of a page, by its heading. */
function sectionsOf(page: string): ReadonlyMap<string, string> {
  const parts = page.split(/^## /m).slice(1);
  return new Map(parts.map((part) => [part.slice(0, part.indexOf('\n')), part]));
}

const read = (page: string): Promise<string> => readFile(join(DOCS, page), 'utf8');

describe('Alerts', () => {
  it('each have a runbook, and no runbook is without its alert', async () => {
    const alerts = await readAlerts();
    const sections = sectionsOf(await read('runbooks.md'));
    assert.deepEqual(
      [...sections.keys()],
      alerts.map(({ alert }) => alert),
    );
    for (const [name, text] of sections) {
      for (const part of ['**What it means.**', '**How to look.**', '**What to do.**'])
        assert.ok(text.includes(part), `${name}: ${part}`);
    }
  });

  it('wait, have a severity, say what is the matter, and lead to their runbook', async () => {
    const alerts = await readAlerts();
    assert.ok(alerts.length >= 10);
    for (const { alert, for: wait, labels, annotations } of alerts) {
      assert.match(alert, /^Weir[A-Z]/);
      assert.match(wait, /^\d+[mh]$/, alert);
      assert.ok(SEVERITIES.has(labels['severity'] ?? ''), alert);
      assert.deepEqual(Object.keys(annotations), ['summary', 'description', 'runbook_url'], alert);
      assert.match(
        annotations['runbook_url'] ?? '',
        new RegExp(`/docs/runbooks\\.md#${alert.toLowerCase()}$`),
      );
    }
  });

  it('name only metrics and labels that a node exports', async () => {
    const known = exported();
    for (const { alert, expr } of await readAlerts()) assert.deepEqual(unknownIn(expr, known), [], alert);
    assert.deepEqual(unknownIn('rate(weir_nothing_total{code="a"}[5m]) > up', known), ['weir_nothing_total']);
    assert.deepEqual(unknownIn('weir_pulls_total{code="a"}', known), ['weir_pulls_total{code}']);
  });

  it('each have a case in which they fire, and one in which they do not', async () => {
    const { tests } = parse(await readFile(CASES, 'utf8')) as Cases;
    const cases = tests.flatMap((each) => each.promql_expr_test);
    for (const { alert } of await readAlerts()) {
      const own = cases.filter(({ expr }) => expr.includes(`alertname="${alert}"`));
      assert.ok(
        own.some(({ exp_samples: samples }) => samples.length > 0),
        `${alert} never fires`,
      );
      assert.ok(
        own.some(({ exp_samples: samples }) => samples.length === 0),
        `${alert} is never quiet`,
      );
    }
  });

  it('are in a PrometheusRule as the file has them, if they are switched on', async () => {
    const rules = (manifests: readonly Manifest[]): readonly Manifest[] =>
      manifests.filter(({ kind }) => kind === 'PrometheusRule');
    assert.deepEqual(rules(parseManifests(await template('--set', 'metrics.enabled=true'))), []);
    const on = 'metrics.enabled=true,metrics.rules.enabled=true';
    const [rule] = rules(parseManifests(await template('--set', on)));
    assert.deepEqual(rule?.['spec'], parse(await readFile(ALERTS_FILE, 'utf8')));
  });
});

requires('promtool')('Alerts, as promtool reads them', () => {
  it('are valid', async () => {
    await runOk('promtool', ['check', 'rules', '--lint=all', '--lint-fatal', ALERTS_FILE]);
  });

  it('fire where they must, and are quiet where they must be', async () => {
    await runOk('promtool', ['test', 'rules', CASES]);
  });
});

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
    // A node names its own faults in its log and in `weir status`, with the cure that a panel has no room for.
    const conditions = new Set(['weir_alone', 'weir_unstored_blobs_total', 'weir_host_files']);
    const names = [...exported().keys()].filter((name) => name.startsWith('weir_'));
    const own = new Set(names.map((name) => name.replace(/_(bucket|sum|count)$/, '')));
    assert.deepEqual(
      [...own].filter((name) => !text.includes(name) && !conditions.has(name)),
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

describe('docs/runbooks.md', () => {
  it('names only panels and sections that exist', async () => {
    const page = await read('runbooks.md');
    const { panels } = await readDashboard();
    const titles = new Set(panels.map(({ title }) => title));
    // *A panel*, but not **bold text**.
    const named = [...page.matchAll(/(?<!\*)\*([^*]+)\*(?!\*)/g)].map(([, text = '']) =>
      text.replaceAll('\n', ' '),
    );
    assert.ok(named.length > 10);
    for (const name of named) if (name !== 'Targets') assert.ok(titles.has(name), `the panel ${name}`);
    for (const [, file = '', section] of page.matchAll(/\]\((?!https?:)([^)#]*)#?([^)]*)\)/g)) {
      const target = file === '' ? page : await read(file);
      const anchors = [...target.matchAll(/^#+ (.*)$/gm)].map(([, text = '']) =>
        text
          .toLowerCase()
          .replaceAll(/[^\w\- ]/g, '')
          .replaceAll(' ', '-'),
      );
      if (section !== '') assert.ok(anchors.includes(section ?? ''), `${file}#${section}`);
    }
  });
});
