/**
 * `bench node`: the cost and the speed of one node, against the registry itself and against nginx. README.md says how
 * each figure is measured.
 *
 * The registry with its content, and the scratch folder, live as long as the run; each part starts and ends its
 * own nodes. The parts run one after the other, and nothing else runs meanwhile.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GIB } from '../../src/util/clock.ts';
import { Registry } from '../../test/support/registry.ts';
import { findProgram } from '../../test/support/requires.ts';
import { cpuTimes, stolenShare } from '../support/cpu-share.ts';
import { describeMachine } from '../support/machine.ts';
import { Scratch } from '../support/scratch.ts';
import { measureCold } from './cold.ts';
import { pushContent } from './content.ts';
import { measureLatency } from './latency.ts';
import { measureMemory } from './memory.ts';
import { profileNode } from './profile.ts';
import { targetsOf, type Figures, type NodeReport } from './report.ts';
import type { Scene } from './scene.ts';
import { WarmScene } from './warm-scene.ts';
import { measureWarm } from './warm.ts';

/** Bytes: the content in the registry, a second copy in a node or before the push, and one large file. */
const DISK_NEEDED = 4 * GIB;

export const PARTS = ['cold', 'warm', 'memory', 'latency'] as const;
export type Part = (typeof PARTS)[number];

export interface NodeBenchOptions {
  readonly repeat: number;
  readonly parts: readonly Part[];
  /** Folder for report.json. */
  readonly out: string;
  /** Folder for CPU profiles; undefined: none are made. */
  readonly profile: string | undefined;
  readonly say: (message: string) => void;
  readonly signal: AbortSignal;
}

/** @throws WeirError `digest_mismatch` and those of failed requests; Error if this machine lacks a program */
export async function runNodeBench(options: NodeBenchOptions): Promise<NodeReport> {
  const { repeat, say, signal, out } = options;
  const startedAt = new Date().toISOString();
  const programs = { 'docker-registry': program('docker-registry'), nginx: program('nginx', 'nginx-light') };
  const machine = await describeMachine({
    'docker-registry': [programs['docker-registry'], '--version'],
    nginx: [programs.nginx, '-v'],
  });
  await using scratch = await Scratch.create(DISK_NEEDED);
  say(`making 1.5 GiB of content below ${scratch.path} (4 GiB at most are used)`);
  await using registry = await Registry.start({ storage: scratch.join('storage') });
  const content = await pushContent(registry.url, scratch.join('content'), signal);
  const scene: Scene = { registry, content, scratch, repeat, say, signal };
  const before = await cpuTimes();
  const figures = await measure(scene, programs.nginx, options);
  const stolen = stolenShare(before, await cpuTimes());
  const targets = targetsOf(figures);
  const report: NodeReport = { question: 'node', startedAt, repeat, machine, stolen, targets, ...figures };
  await mkdir(out, { recursive: true });
  await writeFile(join(out, 'report.json'), `${JSON.stringify(report, undefined, 2)}\n`);
  return report;
}

async function measure(scene: Scene, nginx: string, options: NodeBenchOptions): Promise<Figures> {
  const wants = (part: Part): boolean => options.parts.includes(part);
  const cold = wants('cold') ? { cold: await measureCold(scene) } : {};
  const memory = wants('memory') ? { memory: await measureMemory(scene) } : {};
  const hits = wants('warm') || wants('latency') ? await measureHits(scene, nginx, wants) : {};
  const { profile: folder } = options;
  const profile = folder === undefined ? {} : { profile: await profileNode(scene, folder) };
  return { ...cold, ...hits, ...memory, ...profile };
}

async function measureHits(scene: Scene, nginx: string, wants: (part: Part) => boolean): Promise<Figures> {
  await using warm = await WarmScene.start(scene, nginx);
  return {
    ...(wants('warm') && { warm: await measureWarm(scene, warm) }),
    ...(wants('latency') && { latency: await measureLatency(scene, warm) }),
  };
}

/** @throws Error that names the packages to install */
function program(name: string, debianPackage = name): string {
  const path = findProgram(name);
  if (path !== undefined) return path;
  throw new Error(
    `${name} is missing; on Debian: sudo apt-get install --no-install-recommends ${debianPackage}`,
  );
}
