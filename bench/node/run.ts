/**
 * `bench node`: the cost and the speed of one node, against the registry itself and against nginx. README.md says how
 * each figure is measured.
 *
 * The scratch folder lives as long as the run. The late node comes first, with a registry of its own; the other parts share
 * one with its content. Each part starts and ends its own nodes. They run one after the other, and nothing else meanwhile.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GIB } from '../../src/util/clock.ts';
import { Registry } from '../../test/support/registry.ts';
import { findProgram } from '../../test/support/requires.ts';
import { cpuTimes, stolenShare } from '../support/cpu-share.ts';
import { installInto } from '../support/installed.ts';
import { describeMachine } from '../support/machine.ts';
import { Scratch } from '../support/scratch.ts';
import { measureCold } from './cold.ts';
import { pushContent } from './content.ts';
import { measureLate } from './late.ts';
import { measureLatency } from './latency.ts';
import { measureMemory } from './memory.ts';
import { profileNode } from './profile.ts';
import type { Figures, NodeReport } from './report.ts';
import type { Scene } from './scene.ts';
import { targetsOf } from './targets.ts';
import { WarmScene } from './warm-scene.ts';
import { measureWarm } from './warm.ts';

/** Bytes: the content in the registry, a second copy in a node or before the push, and one large file. */
const DISK_NEEDED = 4 * GIB;
/** Copies of the late node's image: in the registry and in both nodes, and one to spare. */
const LATE_COPIES = 4;

export const PARTS = ['cold', 'warm', 'memory', 'latency', 'late'] as const;
export type Part = (typeof PARTS)[number];

export interface NodeBenchOptions {
  readonly repeat: number;
  readonly parts: readonly Part[];
  /** Bytes of the image that the late node takes. */
  readonly lateBytes: number;
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
  await using scratch = await Scratch.create(diskNeeded(options));
  const weir = await installInto(scratch.join('weir'));
  const before = await cpuTimes();
  const late = options.parts.includes('late')
    ? {
        late: await measureLate({
          program: weir,
          scratch,
          imageBytes: options.lateBytes,
          repeat,
          say,
          signal,
        }),
      }
    : {};
  const others = needsContent(options)
    ? await measureOthers({ program: weir, scratch }, programs.nginx, options)
    : {};
  const figures = { ...others, ...late };
  const stolen = stolenShare(before, await cpuTimes());
  const targets = targetsOf(figures);
  const report: NodeReport = { question: 'node', startedAt, repeat, machine, stolen, targets, ...figures };
  await mkdir(out, { recursive: true });
  await writeFile(join(out, 'report.json'), `${JSON.stringify(report, undefined, 2)}\n`);
  return report;
}

function needsContent({ parts, profile }: NodeBenchOptions): boolean {
  return profile !== undefined || parts.some((part) => part !== 'late');
}

/** Bytes. The parts run one after the other, and the late node's image is removed before the others begin. */
function diskNeeded(options: NodeBenchOptions): number {
  const late = options.parts.includes('late') ? LATE_COPIES * options.lateBytes : 0;
  return Math.max(late, needsContent(options) ? DISK_NEEDED : 0);
}

async function measureOthers(
  own: Pick<Scene, 'program' | 'scratch'>,
  nginx: string,
  options: NodeBenchOptions,
): Promise<Figures> {
  const { scratch } = own;
  const { repeat, say, signal } = options;
  say(`making 1.5 GiB of content below ${scratch.path} (4 GiB at most are used)`);
  await using registry = await Registry.start({ storage: scratch.join('storage') });
  const content = await pushContent(registry.url, scratch.join('content'), signal);
  return await measure({ ...own, registry, content, repeat, say, signal }, nginx, options);
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
