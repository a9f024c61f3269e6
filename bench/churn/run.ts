/**
 * `bench churn`: does anything keep growing while nodes come and go? Real nodes on loopback, a real registry, images
 * pulled at random, more of them than the quota holds. README.md says how it is judged.
 */
import { scheduler } from 'node:timers/promises';
import { MIB, SECOND } from '../../src/util/clock.ts';
import { buildImage } from '../../test/support/images.ts';
import { push } from '../../test/support/push.ts';
import { Registry } from '../../test/support/registry.ts';
import { findProgram } from '../../test/support/requires.ts';
import { WeirCluster } from '../../test/support/weir-cluster.ts';
import type { NodeProgram } from '../../test/support/weir.ts';
import { SeededRandom } from '../../test/simulator/random.ts';
import { writeFiles } from '../report/report.ts';
import { renderPage } from '../report/page.ts';
import { describeMachine } from '../support/machine.ts';
import { installInto } from '../support/installed.ts';
import { Scratch } from '../support/scratch.ts';
import { comeAndGo, stay, type Life, type Tally } from './life.ts';
import { stayers, type ChurnSettings } from './options.ts';
import {
  churnCharts,
  churnLines,
  churnRows,
  figuresOf,
  trendsOf,
  verdictOf,
  type ChurnReport,
  type ChurnResult,
} from './report.ts';
import { Watch } from './watch.ts';
import { Zipf } from './zipf.ts';

/** Samples in a run, and the least time between two (milliseconds): each sample reads a folder for each node. */
const LOOKS = 360;
const LEAST_EVERY = SECOND;
/** Bytes that a node's data folder takes besides its store, and bytes written before the quota drops old ones. */
const FOLDER = 64 * MIB;

export interface ChurnOptions {
  readonly settings: ChurnSettings;
  /** Folder for the report. */
  readonly out: string;
  readonly say: (message: string) => void;
  readonly signal: AbortSignal;
}

/** @throws Error that names what this machine lacks */
export async function runChurn({ settings, out, say, signal }: ChurnOptions): Promise<ChurnReport> {
  const program = findProgram('docker-registry');
  if (program === undefined) {
    throw new Error('docker-registry is missing; on Debian: sudo apt-get install docker-registry');
  }
  const startedAt = new Date().toISOString();
  const machine = await describeMachine({ 'docker-registry': [program, '--version'] });
  const imageBytes = settings.layers.reduce((sum, size) => sum + size, 0);
  await using scratch = await Scratch.create(
    settings.images * imageBytes + settings.nodes * (settings.quota + FOLDER),
  );
  await using registry = await Registry.start({ storage: scratch.join('storage') });
  say(`pushing ${settings.images} images, starting ${settings.nodes} nodes`);
  const images = await stock(registry, settings);
  const nodeProgram = await installInto(scratch.join('program'));
  await using cluster = await startCluster(registry, settings, nodeProgram);
  await registry.accessLog.settled();
  registry.accessLog.clear();
  const tally: Tally = { pulls: [], cut: 0, leaves: 0, kills: 0, failures: [] };
  const series = await live(cluster, { settings, images, tally, say, signal });
  await registry.accessLog.settled();
  const accesses = registry.accessLog.matching('/v2/');
  const bytes = registry.accessLog.bytes('/v2/');
  const arrived = tally.pulls.length * imageBytes;
  const seen = { bytes, requests: accesses.length, arrived };
  const mostMemory = Math.max(0, ...series.memory.most.map(([, value]) => value));
  const result: ChurnResult = {
    ...figuresOf(settings, tally, seen, mostMemory),
    trends: trendsOf(series),
    series,
  };
  const { version: weir } = await cluster.node(0).status();
  const report: ChurnReport = {
    question: 'churn',
    startedAt,
    machine,
    settings: { ...settings },
    versions: { weir },
    warnings: [],
    results: [result],
  };
  const charts = churnCharts(result, settings.quota);
  const notes = [...churnLines(settings, result), verdictOf(result)];
  const page = renderPage({ head: report, notes, charts, tables: [{ rows: churnRows(result) }] });
  say(`written: ${(await writeFiles(out, report, page, charts)).join(', ')}`);
  return report;
}

async function stock(registry: Registry, { images, layers, seed }: ChurnSettings): Promise<string[]> {
  const names: string[] = [];
  for (let number = 1; number <= images; number++) {
    const image = await buildImage({ seed: `bench churn ${seed} ${number}`, layers });
    await push(registry.url, `bench/churn-${number}`, 'v1', image);
    names.push(`${registry.host}/bench/churn-${number}:v1`);
  }
  return names;
}

function startCluster(
  registry: Registry,
  { nodes, quota }: ChurnSettings,
  program: NodeProgram,
): Promise<WeirCluster> {
  return WeirCluster.start(nodes, {
    node: (index) => ({
      program,
      settings: {
        'node.name': `node-${index + 1}`,
        'log.level': 'info',
        'cluster.mdns': 'off',
        'store.quota': `${quota}B`,
      },
      registries: { [registry.host]: { 'plain-http': true } },
    }),
  });
}

async function live(
  cluster: WeirCluster,
  {
    settings,
    images,
    tally,
    say,
    signal,
  }: Pick<ChurnOptions, 'settings' | 'say' | 'signal'> & Pick<Life, 'images' | 'tally'>,
): Promise<Watch['series']> {
  const over = new AbortController();
  const life: Life = {
    settings,
    zipf: new Zipf(settings.images, settings.zipf),
    images,
    tally,
    signal: AbortSignal.any([over.signal, signal]),
  };
  const permanent = stayers(settings);
  await using watch = new Watch(
    cluster.nodes.slice(0, permanent),
    Math.max(LEAST_EVERY, settings.for / LOOKS),
  );
  say(`${permanent} nodes stay, ${settings.nodes - permanent} come and go`);
  const lives = cluster.nodes.map((node, index) => {
    const random = new SeededRandom(settings.seed * settings.nodes + index);
    const lead = index < permanent ? stay : comeAndGo;
    return lead(life, node, `node-${index + 1}`, random);
  });
  const ended = Promise.all(lives); // rejects if a node does not start again
  await Promise.race([scheduler.wait(settings.for, { signal }), ended]);
  over.abort(new Error('the run is over'));
  await ended;
  return watch.series;
}
