/**
 * Compares the runtimes' files with what `weir host configure` wrote. Nothing is written, and no running program is asked.
 * Only a caller that may read the records can tell: root, on the machine itself.
 */
import { dirname } from 'node:path';
import { isWeirError } from '../util/errors.ts';
import type { HostFiles } from './host-files.ts';
import { Records, sha256, type Record } from './original-files.ts';

/** Begins the first line of Weir's part of a TOML file; the part of a registry without the mirror does not name it. */
export const BLOCK_MARK = '# weir begin';

export interface HostComparison {
  /** Number of files in which Weir's part is in place. */
  readonly placed: number;
  readonly drifted: readonly Pick<Record, 'path' | 'runtime'>[];
}

/** @returns undefined if nothing was written here, or the caller may not know */
export async function compareHost(
  files: HostFiles,
  stateFolder: string,
): Promise<HostComparison | undefined> {
  const known = await unlessDenied(new Records(files, stateFolder).all());
  if (known === undefined || known.records.length === 0) return undefined;
  let placed = 0;
  const drifted: Pick<Record, 'path' | 'runtime'>[] = [];
  for (const record of known.records) {
    const holds = await unlessDenied(holdsWeir(files, record));
    if (holds === true) placed += 1;
    else if (holds === false) drifted.push({ path: record.path, runtime: record.runtime });
  }
  return { placed, drifted };
}

/**
 * Whether Weir's part is in the file that a record is of. An edit by hand is no drift as long as it is.
 * @returns undefined if the folder that was there before is gone: the runtime was removed, or is not mounted here
 * @throws WeirError `runtime_config` if the file cannot be read
 */
export async function holdsWeir(files: HostFiles, record: Record): Promise<boolean | undefined> {
  const text = await files.read(record.path);
  if (text === undefined) {
    const [made] = record.folders.toSorted((a, b) => a.length - b.length);
    return (await files.exists(dirname(made ?? record.path))) ? false : undefined;
  }
  if (record.written.includes(sha256(text)) || text.includes(BLOCK_MARK)) return true;
  return text.includes(URL.parse(record.mirrorUrl)?.host ?? record.mirrorUrl);
}

async function unlessDenied<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isWeirError(error, 'runtime_config')) return undefined;
    throw error;
  }
}
