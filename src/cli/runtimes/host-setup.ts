/**
 * `weir host configure` and `weir host restore`: point the runtimes of this machine at the mirror, and undo it.
 *
 * The changes of all files are planned first (plan.ts), and all files are tried: if one cannot be edited or written,
 * nothing is. Each file has a record of its original text (original-files.ts):
 *
 *     not edited since         the original text comes back, byte for byte
 *     edited by hand since     Weir's part is taken out of the present text; the result is the new original text
 */
import { createTwoFilesPatch, FILE_HEADERS_ONLY } from 'diff';
import { isWeirError } from '../../util/errors.ts';
import { reloadDocker } from './docker.ts';
import { HostFiles, problem } from '../../host/host-files.ts';
import { lockHost } from './host-lock.ts';
import { Records, type KnownRecords } from '../../host/original-files.ts';
import {
  isReal,
  nothingChanged,
  planConfigure,
  planRestoreAll,
  type Change,
  type Plan,
  type PlanOptions,
} from './plan.ts';
import type { Runtime, Wish } from './target.ts';

/** Tells the running program that its files were written; resolves with lines for people. */
const RELOAD: Readonly<Partial<globalThis.Record<Runtime, (files: HostFiles) => Promise<string>>>> = {
  docker: reloadDocker,
};

export interface HostSetupOptions extends PlanOptions {
  /** The root folder of the machine: `/`, or `/host` in a container. */
  readonly root: string;
  readonly stateFolder: string;
}

export interface Outcome {
  /** Lines for people. */
  readonly lines: readonly string[];
  /** A unified diff of the changes, or of the planned ones. */
  readonly diff: string;
  readonly changed: number;
  /** What could not be restored, and why; all else was. */
  readonly failures: readonly string[];
}

/** @throws WeirError `runtime_config` that names the files; nothing was written then */
export async function configureHost(wish: Wish, options: HostSetupOptions): Promise<Outcome> {
  return carryOut(options, async (files, { records, problems }) => {
    if (problems.length > 0) throw nothingChanged(problems);
    return planConfigure(files, records, wish, options);
  });
}

/** @throws WeirError `runtime_config`; nothing was written then */
export async function restoreHost(options: HostSetupOptions): Promise<Outcome> {
  return carryOut(options, async (files, { records, problems }) => {
    const plan = await planRestoreAll(files, records, options);
    return { ...plan, failures: [...plan.failures, ...problems] };
  });
}

async function carryOut(
  options: HostSetupOptions,
  planner: (files: HostFiles, known: KnownRecords) => Promise<Plan>,
): Promise<Outcome> {
  const files = new HostFiles(options.root);
  if (!(await files.exists('/'))) throw problem(options.root, 'does not exist: see --host-root');
  const records = new Records(files, options.stateFolder);
  const first = await planner(files, await records.all());
  const isIdle = first.changes.length === 0 && !(await records.hasRemains());
  if (options.dryRun || isIdle) return outcomeOf(first);
  await using _lock = await lockHost(files, options.stateFolder);
  const plan = await planner(files, await records.all()); // another run may have been at work until now
  await records.tidy();
  const done: Change[] = [];
  const failures = [...plan.failures];
  for (const change of plan.changes) {
    try {
      await apply(change, files, records);
      done.push(change);
    } catch (error) {
      // The other files get theirs back all the same.
      if (!change.isRestored || !isWeirError(error, 'runtime_config')) throw error;
      failures.push(error.message);
    }
  }
  const told: string[] = [];
  for (const runtime of new Set(done.filter(isReal).map(({ record }) => record.runtime))) {
    const line = await RELOAD[runtime]?.(files);
    if (line !== undefined) told.push(`${runtime}: ${line}`);
  }
  return outcomeOf({ lines: [...plan.lines, ...told], changes: done, failures });
}

function outcomeOf({ lines, changes, failures }: Plan): Outcome {
  const real = changes.filter(isReal);
  return { lines, diff: real.map(unifiedDiff).join(''), changed: real.length, failures };
}

/** The record is written first and removed last, so that a changed file always has one. */
async function apply(
  { path, before, after, record, isRestored }: Change,
  files: HostFiles,
  records: Records,
): Promise<void> {
  if (!isRestored) await records.write(record);
  else await files.tidy(path);
  const isOriginal = isRestored && after === (record.original ?? undefined);
  const mtime = isOriginal ? (record.mtime ?? undefined) : undefined;
  if (after === undefined && before !== undefined) await files.remove(path);
  else if (after !== undefined && after !== before) await files.write(path, after, { mtime });
  if (!isRestored) return;
  await files.removeEmpty(record.folders);
  await records.remove(path);
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
