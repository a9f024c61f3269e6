/** CPU profiles of a node's main thread: one cold pull, and warm reads. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { summarize, type CpuProfile, type ProfileSummary } from '../support/cpu-profile.ts';
import { INSPECT } from '../support/inspector.ts';
import { Profiler } from '../support/profiler.ts';
import { blobTarget, imageReference } from './content.ts';
import { pull } from './pull.ts';
import { readBlob } from './read-blob.ts';
import { startNode, type Scene } from './scene.ts';

const SOURCES = new URL('../../', import.meta.url).href;
const SHOWN = 15;
/** Reads of the large blob. */
const WARM_READS = 3;

export interface ProfileReport {
  readonly cold: ProfileSummary;
  readonly warm: ProfileSummary;
  /** Files with the whole profiles, for the tools of a browser. */
  readonly files: readonly string[];
}

/** Not part of a measurement: profiling makes a node slower. */
export async function profileNode(scene: Scene, folder: string): Promise<ProfileReport> {
  const { program, registry, content, signal, say } = scene;
  await mkdir(folder, { recursive: true });
  await using node = await startNode(program, registry, { NODE_OPTIONS: INSPECT });
  using profiler = await Profiler.connect(node.log);
  const cold = await profiler.during(async () => {
    await pull(imageReference(registry.host, content.image), { node, source: 'upstream', signal });
  });
  const large = node.urlOf(registry.host, blobTarget(content.large));
  await readBlob(large, 1, content.large);
  signal.throwIfAborted();
  const warm = await profiler.during(async () => {
    await readBlob(large, WARM_READS);
  });
  const files = [await save(folder, 'cold', cold), await save(folder, 'warm', warm)];
  say(`profiles: ${files.join(', ')}`);
  return { cold: summarize(cold, SOURCES, SHOWN), warm: summarize(warm, SOURCES, SHOWN), files };
}

async function save(folder: string, name: string, profile: CpuProfile): Promise<string> {
  const file = join(folder, `${name}.cpuprofile`);
  await writeFile(file, JSON.stringify(profile));
  return file;
}
