/**
 * One `weir host` at a time: the chart's init container, a package being installed and an administrator may meet. The lock
 * is SQLite's on an empty file: the kernel drops it with the process, and containers that mount the folder see it too.
 */
import { stat } from 'node:fs/promises';
import { posix } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { SECOND } from '../../util/clock.ts';
import { problem, type HostFiles } from './host-files.ts';

/** No record: its name begins with a dot. */
const LOCK_FILE = '.lock';
/** Milliseconds; a run takes far less than a second. */
const PATIENCE = 30 * SECOND;
const ASK_AGAIN = 50;
const SQLITE_BUSY = 5;

/**
 * Waits until nobody else has it. The file goes when it is given back.
 * @param patience milliseconds
 * @throws WeirError `runtime_config` where somebody keeps it for longer
 */
export async function lockHost(
  files: HostFiles,
  stateFolder: string,
  patience: number = PATIENCE,
): Promise<AsyncDisposable> {
  const path = posix.join(stateFolder, LOCK_FILE);
  for (let waited = 0; ; waited += ASK_AGAIN) {
    const db = await tryLock(files, path);
    if (db !== undefined) {
      return {
        [Symbol.asyncDispose]: async () => {
          await files.remove(path); // while it is held: see tryLock
          db.close();
          await files.removeEmpty([stateFolder]);
        },
      };
    }
    if (waited >= patience) {
      const seconds = patience / SECOND;
      throw problem(
        path,
        `is held by another "weir host", for more than ${seconds} s: try again when it has ended`,
      );
    }
    await delay(ASK_AGAIN);
  }
}

/** Undefined where another process has it, or another call in this one. */
async function tryLock(files: HostFiles, path: string): Promise<DatabaseSync | undefined> {
  await files.makePrivateFolder(posix.dirname(path));
  const file = await files.locate(path);
  let db: DatabaseSync | undefined;
  try {
    if ((await inode(file)) === undefined) new DatabaseSync(file).close(); // makes it
    const before = await inode(file);
    db = new DatabaseSync(file, { timeout: 0 });
    db.exec('BEGIN EXCLUSIVE');
    // Who had it before removes the file: the lock of one that is not there any more locks nobody out.
    if (before !== undefined && (await inode(file)) === before) return db;
  } catch (error) {
    if ((error as { errcode?: unknown }).errcode !== SQLITE_BUSY) {
      db?.close();
      throw problem(path, `cannot be locked (${String(error)})`, error);
    }
  }
  db?.close();
  return undefined;
}

async function inode(file: string): Promise<bigint | undefined> {
  return (await stat(file, { bigint: true }).catch(() => undefined))?.ino;
}
