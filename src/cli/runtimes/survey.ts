/**
 * What `weir host configure` has made of this machine, for `weir doctor`: each runtime's files are in place, were changed
 * since, or do not name the mirror. Nothing is written, and no running program is asked.
 */
import { isWeirError } from '../../util/errors.ts';
import { HostFiles } from './host-files.ts';
import { Records, sha256, type KnownRecords, type Record } from './original-files.ts';
import { DETECT } from './plan.ts';
import { ALL_REGISTRIES, type Found, type Runtime } from './target.ts';
import { hasBlock } from './toml-block.ts';

/**
 * `placed`: its files name the mirror. `drifted`: a file that Weir wrote does not any more. `missing`: it is on this machine
 * without the mirror. `absent`: it is not on this machine. `unknown`: its files cannot be read or understood.
 */
export type Placement = 'placed' | 'drifted' | 'missing' | 'absent' | 'unknown';

export interface RuntimeSurvey {
  readonly runtime: Runtime;
  readonly placement: Placement;
  /** The files that name the mirror, or those that do not any more. */
  readonly files: readonly string[];
  /** Where its files look for the mirror. */
  readonly mirrors: readonly string[];
  /** Why it is so, if the placement does not say it. */
  readonly reasons: readonly string[];
}

export interface HostSurvey {
  readonly runtimes: readonly RuntimeSurvey[];
  /** Whether `weir host configure` was run here; undefined if this user may not see its records. */
  readonly isConfigured: boolean | undefined;
  /** Files that it wrote, as far as its records can be read. */
  readonly written: number;
  /** Records that cannot be read: `weir host` changes nothing then. */
  readonly problems: readonly string[];
}

export interface SurveyOptions {
  readonly root: string;
  readonly stateFolder: string;
  /** Of the node here: files without a record may name it. */
  readonly mirrorUrl: string;
}

/** Without the records, which are root's alone, the files themselves still tell whether they name the mirror. */
export async function surveyHost({ root, stateFolder, mirrorUrl }: SurveyOptions): Promise<HostSurvey> {
  const files = new HostFiles(root);
  const { records, problems, isHidden } = await knownRecords(new Records(files, stateFolder));
  const runtimes: RuntimeSurvey[] = [];
  for (const runtime of Object.keys(DETECT) as Runtime[]) {
    const own = records.filter((record) => record.runtime === runtime);
    runtimes.push(
      await surveyOne(files, runtime, own, mirrorUrl).catch((error: unknown) => unknown(runtime, error)),
    );
  }
  return {
    runtimes,
    isConfigured: isHidden ? undefined : records.length > 0,
    written: records.length,
    problems,
  };
}

async function knownRecords(records: Records): Promise<KnownRecords & { readonly isHidden: boolean }> {
  try {
    return { ...(await records.all()), isHidden: false };
  } catch (error) {
    if (!isWeirError(error, 'runtime_config')) throw error;
    return { records: [], problems: [error.message], isHidden: true };
  }
}

async function surveyOne(
  files: HostFiles,
  runtime: Runtime,
  records: readonly Record[],
  mirrorUrl: string,
): Promise<RuntimeSurvey> {
  const lost: string[] = [];
  for (const record of records) if (!(await holds(files, record))) lost.push(record.path);
  const mirrors = [...new Set(records.map((record) => record.mirrorUrl))];
  if (lost.length > 0) return { runtime, placement: 'drifted', files: lost, mirrors, reasons: [] };
  if (records.length > 0)
    return { runtime, placement: 'placed', files: records.map(({ path }) => path), mirrors, reasons: [] };
  const wish = {
    mirrorUrl,
    registries: [ALL_REGISTRIES],
    direct: [],
    resolve: 'mirror',
  } as const;
  const found = await DETECT[runtime](files, wish, false);
  if (found === undefined) return { runtime, placement: 'absent', files: [], mirrors, reasons: [] };
  const naming = await namingFiles(files, found, mirrorUrl);
  if (naming.length > 0)
    return { runtime, placement: 'placed', files: naming, mirrors: [mirrorUrl], reasons: [] };
  const reasons = found.targets.length === 0 ? found.notes : [];
  return { runtime, placement: 'missing', files: [], mirrors, reasons };
}

/** An edit by hand is no fault as long as Weir's part is in the file. */
async function holds(files: HostFiles, record: Record): Promise<boolean> {
  const text = await files.read(record.path);
  if (text === undefined) return false;
  const mirror = new URL(record.mirrorUrl).host;
  return record.written.includes(sha256(text)) || hasBlock(text) || text.includes(mirror);
}

/** The files without a record that name the mirror: from an image of the machine, or written by hand. */
async function namingFiles(
  files: HostFiles,
  { targets, others = [] }: Found,
  mirrorUrl: string,
): Promise<readonly string[]> {
  const mirror = new URL(mirrorUrl).host;
  const naming: string[] = [];
  for (const path of new Set([...targets.map((target) => target.path), ...others])) {
    const text = await files.read(path).catch(() => undefined);
    if (text !== undefined && (hasBlock(text) || text.includes(mirror))) naming.push(path);
  }
  return naming;
}

function unknown(runtime: Runtime, error: unknown): RuntimeSurvey {
  if (!isWeirError(error, 'runtime_config')) throw error;
  return { runtime, placement: 'unknown', files: [], mirrors: [], reasons: [error.message] };
}
