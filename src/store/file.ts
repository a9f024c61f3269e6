/** Reads and writes files in full, and translates failures of writing. */
import type { FileHandle } from 'node:fs/promises';
import { errorMessage, systemCode, WeirError } from '../util/errors.ts';

/** The store's error for a failed write. */
export function writeError(cause: unknown): unknown {
  if (cause instanceof WeirError) return cause;
  const code = systemCode(cause);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new WeirError('store_full', 'no space left on the disk of the data folder', { cause });
  }
  return new WeirError('store_unusable', `cannot write to the data folder: ${errorMessage(cause)}`, {
    cause,
  });
}

/** Fills `target`; false if the file ends before. */
export async function readFully(file: FileHandle, target: Uint8Array, position: number): Promise<boolean> {
  let done = 0;
  while (done < target.length) {
    const { bytesRead } = await file.read(target, done, target.length - done, position + done);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return true;
}

/** Writes all bytes: writev(2) may write fewer than it was given, on a full disk above all. */
export async function writeFully(
  file: FileHandle,
  buffers: readonly Uint8Array[],
  position: number,
): Promise<void> {
  let rest: Uint8Array[] = buffers.filter((buffer) => buffer.length > 0);
  let at = position;
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev(rest, at);
    at += bytesWritten;
    let skip = bytesWritten;
    while (rest[0] !== undefined && skip >= rest[0].length) skip -= rest.shift()?.length ?? 0;
    if (skip > 0 && rest[0] !== undefined) rest = [rest[0].subarray(skip), ...rest.slice(1)];
  }
}
