/** What `weir host` would change on this machine. Nothing is written here. */
import { isWeirError, WeirError } from '../../util/errors.ts';
import { detectContainerd } from './containerd.ts';
import { detectContainers } from './containers.ts';
import { daemonJsonEdit } from './daemon-json.ts';
import { detectDocker } from './docker.ts';
import { editing, type Edit } from './edit.ts';
import type { HostFiles } from './host-files.ts';
import { detectK3s, detectRke2, yamlName } from './k3s.ts';
import { sha256, type Record } from './original-files.ts';
import { registriesYamlEdit } from './registries-yaml.ts';
import { hasBlock, removeBlock } from './toml-block.ts';
import {
  ALL_REGISTRIES,
  DEFAULT_MIRROR,
  type Detect,
  type Found,
  type Runtime,
  type Target,
  type Wish,
} from './target.ts';

export const DETECT: Readonly<globalThis.Record<Runtime, Detect>> = {
  containerd: detectContainerd,
  docker: detectDocker,
  containers: detectContainers,
  k3s: detectK3s,
  rke2: detectRke2,
};

/** Versions of a file in its record; more than one is of use only after a crash. */
const MAX_WRITTEN = 4;

/** One file: its present text and its planned text; undefined: no file. */
export interface Change {
  readonly path: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
  readonly record: Record;
  /** Whether Weir's part is removed, and the record with it. */
  readonly isRestored: boolean;
}

/** The plan of one run. */
export interface Plan {
  /** Lines for people. */
  readonly lines: readonly string[];
  readonly changes: readonly Change[];
  /** Files that cannot be restored, and why; the others are. */
  readonly failures: readonly string[];
}

export interface PlanOptions {
  /** Only these runtimes; undefined: all that are found. */
  readonly runtimes: readonly Runtime[] | undefined;
  readonly dryRun: boolean;
}

/** What `weir host configure` would do to the files of one runtime. */
interface RuntimePlan {
  readonly lines: readonly string[];
  readonly changes: readonly Change[];
  /** Files that cannot be written, and why. */
  readonly refused: readonly string[];
}

/** @throws WeirError `runtime_config` that names the file, or each file that cannot be written */
export async function planConfigure(
  files: HostFiles,
  known: readonly Record[],
  wish: Wish,
  options: PlanOptions,
): Promise<Plan> {
  const plans: RuntimePlan[] = [];
  for (const runtime of options.runtimes ?? runtimesOf(DETECT)) {
    const found = await DETECT[runtime](files, wish, options.runtimes !== undefined);
    if (found !== undefined) plans.push(await planRuntime(files, known, found, wish, options));
  }
  const refused = plans.flatMap((plan) => plan.refused);
  if (refused.length > 0) throw nothingChanged(refused);
  const lines =
    plans.length === 0
      ? ['no runtime was found on this machine: nothing was changed']
      : plans.flatMap((plan) => plan.lines);
  return { lines, changes: plans.flatMap((plan) => plan.changes), failures: [] };
}

async function planRuntime(
  files: HostFiles,
  known: readonly Record[],
  { runtime, targets, notes }: Found,
  wish: Wish,
  { dryRun }: PlanOptions,
): Promise<RuntimePlan> {
  const [lines, changes, refused]: [string[], Change[], string[]] = [[], [], []];
  const note = (text: string): unknown => lines.push(`${runtime}: note: ${text}`);
  for (const target of targets) {
    const { path, takesEffect, isOptional = false } = target;
    if ((await files.kindOf(path)) === 'other') {
      note(`${path} is no regular file, as if it were masked: it is left as it is`);
      continue;
    }
    const change = await planTarget(files, known, runtime, target, wish);
    const problem = dryRun ? undefined : await refusalOf(files, change);
    if (problem !== undefined) {
      if (isOptional) note(`${problem}: it is left as it is`);
      else refused.push(problem);
      continue;
    }
    if (change !== undefined) changes.push(change);
    const effect = change === undefined ? '' : `; takes effect ${takesEffect}`;
    lines.push(`${runtime}: ${path}: ${tell(change, dryRun)}${effect}`);
  }
  for (const record of known) {
    // The file is for a registry that --registries no longer names, or may not have the mirror any more.
    if (record.runtime !== runtime || targets.some(({ path }) => path === record.path)) continue;
    const change = await planRestore(files, record);
    const problem = dryRun ? undefined : await refusalOf(files, change);
    if (problem !== undefined) refused.push(problem);
    changes.push(change);
    lines.push(`${runtime}: ${record.path}: ${tell(change, dryRun)}`);
  }
  for (const each of notes) note(each);
  return { lines, changes, refused };
}

/** Why a file cannot be written; undefined: it can, or it stays as it is. */
async function refusalOf(files: HostFiles, change: Change | undefined): Promise<string | undefined> {
  if (change === undefined || !isReal(change)) return undefined;
  try {
    await files.checkWritable(change.path);
    return undefined;
  } catch (error) {
    if (!isWeirError(error, 'runtime_config')) throw error;
    return error.message;
  }
}

/** Ends a run before anything is written. */
export function nothingChanged(problems: readonly string[]): WeirError {
  return new WeirError('runtime_config', `${problems.join('; ')}; nothing was changed`);
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
  const original = record === undefined ? withoutOurs(before) : originalOf(record, before);
  const after = editing(path, () => edit.add(original));
  const isLeft = after === (original ?? '');
  if (record === undefined ? isLeft && before === original : after === before) return undefined;
  const isKept = record !== undefined && (record.original ?? undefined) === original;
  const folders = record?.folders ?? (await files.missingFolders(path));
  const mtime = isKept ? record.mtime : ((await files.mtimeOf(path)) ?? null);
  return {
    path,
    before,
    after: isLeft ? original : after,
    isRestored: isLeft,
    record: {
      version: 1,
      path,
      runtime,
      mirrorUrl: wish.mirrorUrl,
      registries: [...wish.registries],
      original: original ?? null,
      mtime,
      written: [...(isKept ? record.written : []), sha256(after)].slice(-MAX_WRITTEN),
      folders: [...folders],
    },
  };
}

/** Weir's block without a record: the machine was made from an image, or the records are lost. */
function withoutOurs(text: string | undefined): string | undefined {
  return text === undefined || !hasBlock(text) ? text : removeBlock(text, undefined);
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

/** A file that cannot be restored is a failure of the plan; the others are restored. */
export async function planRestoreAll(
  files: HostFiles,
  known: readonly Record[],
  options: PlanOptions,
): Promise<Plan> {
  const isChosen = (runtime: Runtime): boolean => options.runtimes?.includes(runtime) ?? true;
  const changes: Change[] = [];
  const lines: string[] = [];
  const failures: string[] = [];
  for (const record of known.filter(({ runtime }) => isChosen(runtime))) {
    try {
      const change = await planRestore(files, record);
      changes.push(change);
      lines.push(`${record.runtime}: ${change.path}: ${tell(change, options.dryRun)}`);
    } catch (error) {
      if (!isWeirError(error, 'runtime_config')) throw error;
      failures.push(error.message);
    }
  }
  const recorded = new Set(known.map(({ path }) => path));
  for (const runtime of runtimesOf(DETECT).filter(isChosen)) {
    for (const path of (await pathsOf(files, runtime)).filter((each) => !recorded.has(each))) {
      recorded.add(path);
      const text = await files.read(path).catch(() => undefined);
      if (text === undefined) continue;
      if (hasBlock(text)) {
        const change = withoutRecord(path, runtime, text);
        changes.push(change);
        lines.push(`${runtime}: ${path}: ${tell(change, options.dryRun)} (no record of it was found)`);
      } else if (text.includes(DEFAULT_MIRROR)) {
        lines.push(
          `${runtime}: note: ${path} names ${DEFAULT_MIRROR}, and no record says that Weir wrote it: take it out by hand`,
        );
      }
    }
  }
  if (changes.length + failures.length + lines.length === 0) {
    lines.push('nothing to restore: no runtime of this machine was configured by Weir');
  }
  return { lines, changes, failures };
}

/** The files of a runtime that Weir might have written; none if its configuration cannot be read. */
async function pathsOf(files: HostFiles, runtime: Runtime): Promise<readonly string[]> {
  const wish = {
    mirrorUrl: DEFAULT_MIRROR,
    registries: [ALL_REGISTRIES],
    direct: [],
    resolve: 'mirror',
  } as const;
  try {
    const found = await DETECT[runtime](files, wish, false);
    return [...(found?.targets ?? []).map(({ path }) => path), ...(found?.others ?? [])];
  } catch (error) {
    if (isWeirError(error, 'runtime_config')) return [];
    throw error;
  }
}

function withoutRecord(path: string, runtime: Runtime, text: string): Change {
  const after = removeBlock(text, undefined);
  const record: Record = {
    version: 1,
    path,
    runtime,
    mirrorUrl: DEFAULT_MIRROR,
    registries: [ALL_REGISTRIES],
    original: after ?? null,
    mtime: null,
    written: [],
    folders: [],
  };
  return { path, before: text, after, record, isRestored: true };
}

async function planRestore(files: HostFiles, record: Record): Promise<Change> {
  const before = await files.read(record.path);
  const after = originalOf(record, before);
  return { path: record.path, before, after, record, isRestored: true };
}

export function isReal({ before, after }: Change): boolean {
  return before !== after;
}

function tell(change: Change | undefined, dryRun: boolean): string {
  if (change === undefined || change.before === change.after) return 'is as it should be';
  if (change.after === undefined) return dryRun ? 'would be removed' : 'removed';
  return dryRun ? 'would be written' : 'written';
}

function runtimesOf(of: Readonly<globalThis.Record<Runtime, unknown>>): readonly Runtime[] {
  return Object.keys(of) as Runtime[];
}
