/**
 * `weir host configure` and `weir host restore`: point the runtimes of this machine at the mirror, and undo it.
 *
 * The changes of all files are planned first: if a file cannot be edited, nothing is written. Each file has a record of
 * its original text (original-files.ts):
 *
 *     not edited since         the original text comes back, byte for byte
 *     edited by hand since     Weir's part is taken out of the present text; the result is the new original text
 */
import { createTwoFilesPatch, FILE_HEADERS_ONLY } from 'diff';
import { detectContainerd } from './containerd.ts';
import { detectContainers } from './containers.ts';
import { daemonJsonEdit } from './daemon-json.ts';
import { detectDocker, reloadDocker } from './docker.ts';
import { editing, type Edit } from './edit.ts';
import { HostFiles, problem } from './host-files.ts';
import { lockHost } from './host-lock.ts';
import { detectK3s, detectRke2, yamlName } from './k3s.ts';
import { Records, sha256, type Record } from './original-files.ts';
import { registriesYamlEdit } from './registries-yaml.ts';
import { removeBlock } from './toml-block.ts';
import type { Detect, Runtime, Target, Wish } from './target.ts';

const DETECT: Readonly<globalThis.Record<Runtime, Detect>> = {
  containerd: detectContainerd,
  docker: detectDocker,
  containers: detectContainers,
  k3s: detectK3s,
  rke2: detectRke2,
};

/** Tells the running program that its files were written; resolves with lines for people. */
const RELOAD: Readonly<Partial<globalThis.Record<Runtime, (files: HostFiles) => Promise<string>>>> = {
  docker: reloadDocker,
};

export interface HostSetupOptions {
  /** The root folder of the machine: `/`, or `/host` in a container. */
  readonly root: string;
  readonly stateFolder: string;
  /** Only these runtimes; undefined: all that are found. */
  readonly runtimes: readonly Runtime[] | undefined;
  readonly dryRun: boolean;
}

/** Versions of a file in its record; more than one is of use only after a crash. */
const MAX_WRITTEN = 4;

/** One file: its present text and its planned text; undefined: no file. */
interface Change {
  readonly path: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
  readonly record: Record;
  /** Whether Weir's part is removed, and the record with it. */
  readonly isRestored: boolean;
}

export interface Outcome {
  /** Lines for people. */
  readonly lines: readonly string[];
  /** A unified diff of the changes, or of the planned ones. */
  readonly diff: string;
  readonly changed: number;
}

/** The plan of one run. */
interface Plan {
  /** Lines for people. */
  readonly lines: readonly string[];
  readonly changes: readonly Change[];
}

type Planner = (files: HostFiles, known: readonly Record[]) => Promise<Plan>;

/** @throws WeirError `runtime_config` that names the file; nothing was written then */
export async function configureHost(wish: Wish, options: HostSetupOptions): Promise<Outcome> {
  return carryOut(options, async (files, known) => planConfigure(files, known, wish, options));
}

/** @throws WeirError `runtime_config` that names the file; nothing was written then */
export async function restoreHost(options: HostSetupOptions): Promise<Outcome> {
  return carryOut(options, async (files, known) => planRestoreAll(files, known, options));
}

async function carryOut(options: HostSetupOptions, planner: Planner): Promise<Outcome> {
  const files = new HostFiles(options.root);
  if (!(await files.exists('/'))) throw problem(options.root, 'does not exist: see --host-root');
  const records = new Records(files, options.stateFolder);
  const first = await planner(files, await records.all());
  const isIdle = first.changes.length === 0 && !(await records.hasRemains());
  if (options.dryRun || isIdle) return outcomeOf(first);
  await using _lock = await lockHost(files, options.stateFolder);
  const plan = await planner(files, await records.all()); // another run may have been at work until now
  await records.tidy();
  for (const change of plan.changes) await apply(change, files, records);
  const told: string[] = [];
  for (const runtime of new Set(plan.changes.filter(isReal).map(({ record }) => record.runtime))) {
    const line = await RELOAD[runtime]?.(files);
    if (line !== undefined) told.push(`${runtime}: ${line}`);
  }
  return outcomeOf({ lines: [...plan.lines, ...told], changes: plan.changes });
}

function outcomeOf({ lines, changes }: Plan): Outcome {
  const real = changes.filter(isReal);
  return { lines, diff: real.map(unifiedDiff).join(''), changed: real.length };
}

async function planConfigure(
  files: HostFiles,
  known: readonly Record[],
  wish: Wish,
  options: HostSetupOptions,
): Promise<Plan> {
  const lines: string[] = [];
  const changes: Change[] = [];
  let isAnyThere = false;
  for (const runtime of options.runtimes ?? (Object.keys(DETECT) as Runtime[])) {
    const found = await DETECT[runtime](files, wish, options.runtimes !== undefined);
    if (found === undefined) continue;
    isAnyThere = true;
    for (const target of found.targets) {
      const change = await planTarget(files, known, found.runtime, target, wish);
      if (change !== undefined) changes.push(change);
      lines.push(
        `${runtime}: ${target.path}: ${tell(change, options.dryRun)}${change === undefined ? '' : `; takes effect ${target.takesEffect}`}`,
      );
    }
    for (const record of known) {
      // The file is for a registry that --registries no longer names.
      if (record.runtime !== runtime || found.targets.some(({ path }) => path === record.path)) continue;
      const change = await planRestore(files, record);
      changes.push(change);
      lines.push(`${runtime}: ${record.path}: ${tell(change, options.dryRun)}`);
    }
    lines.push(...found.notes.map((note) => `${runtime}: note: ${note}`));
  }
  if (!isAnyThere) lines.push('no runtime was found on this machine: nothing was changed');
  return { lines, changes };
}

/** Undefined if nothing is to be done. */
async function planTarget(
  files: HostFiles,
  known: readonly Record[],
  runtime: Runtime,
  { path, edit }: Target,
  wish: Wish,
): Promise<Change | undefined> {
  const before = await files.read(path);
  const record = known.find((each) => each.path === path);
  const original = record === undefined ? before : originalOf(record, before);
  const after = editing(path, () => edit.add(original));
  if (after === before || (after === original && record === undefined)) return undefined;
  const isKept = record !== undefined && (record.original ?? undefined) === original;
  const folders = record?.folders ?? (await files.missingFolders(path));
  return {
    path,
    before,
    after,
    isRestored: false,
    record: {
      version: 1,
      path,
      runtime,
      mirrorUrl: wish.mirrorUrl,
      registries: [...wish.registries],
      original: original ?? null,
      written: [...(isKept ? record.written : []), sha256(after)].slice(-MAX_WRITTEN),
      folders: [...folders],
    },
  };
}

/** The text without Weir's part, from the record and the present text. */
function originalOf(record: Record, now: string | undefined): string | undefined {
  const original = record.original ?? undefined;
  if (now === undefined || now === original) return now;
  if (record.written.includes(sha256(now))) return original;
  return editing(record.path, () => removerOf(record)(now, original));
}

/** The function that takes Weir's part out of a file. The runtime itself may be gone by now. */
function removerOf({ path, mirrorUrl, registries }: Record): Edit['remove'] {
  if (path.endsWith('.json')) return daemonJsonEdit(mirrorUrl).remove;
  if (path.endsWith('.yaml')) return registriesYamlEdit(mirrorUrl, registries.map(yamlName)).remove;
  return removeBlock;
}

async function planRestoreAll(
  files: HostFiles,
  known: readonly Record[],
  options: HostSetupOptions,
): Promise<Plan> {
  const chosen = known.filter(({ runtime }) => options.runtimes?.includes(runtime) ?? true);
  const changes: Change[] = [];
  for (const record of chosen) changes.push(await planRestore(files, record));
  const lines = changes.map(
    (change) => `${change.record.runtime}: ${change.path}: ${tell(change, options.dryRun)}`,
  );
  if (changes.length === 0) {
    lines.push('nothing to restore: no runtime of this machine was configured by Weir');
  }
  return { lines, changes };
}

async function planRestore(files: HostFiles, record: Record): Promise<Change> {
  const before = await files.read(record.path);
  return { path: record.path, before, after: originalOf(record, before), record, isRestored: true };
}

/** The record is written first and removed last, so that a changed file always has one. */
async function apply(
  { path, before, after, record, isRestored }: Change,
  files: HostFiles,
  records: Records,
): Promise<void> {
  if (!isRestored) await records.write(record);
  else await files.tidy(path);
  if (after === undefined && before !== undefined) await files.remove(path);
  else if (after !== undefined && after !== before) await files.write(path, after);
  if (!isRestored) return;
  await files.removeEmpty(record.folders);
  await records.remove(path);
}

function isReal({ before, after }: Change): boolean {
  return before !== after;
}

function tell(change: Change | undefined, dryRun: boolean): string {
  if (change === undefined || change.before === change.after) return 'is as it should be';
  if (change.after === undefined) return dryRun ? 'would be removed' : 'removed';
  return dryRun ? 'would be written' : 'written';
}

function unifiedDiff({ path, before, after }: Change): string {
  const name = path.slice(1);
  const [from, to] = [
    before === undefined ? '/dev/null' : `a/${name}`,
    after === undefined ? '/dev/null' : `b/${name}`,
  ];
  return createTwoFilesPatch(from, to, before ?? '', after ?? '', undefined, undefined, {
    context: 3,
    headerOptions: FILE_HEADERS_ONLY,
  });
}
