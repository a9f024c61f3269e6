/**
 * One `weir host` at a time: the chart's init container, the installation of a package and an administrator may coincide.
 * It is SQLite's lock on an empty file: the kernel drops it with the process, and containers with the folder see it too.
 */
import { stat } from 'node:fs/promises';
import { posix } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { SECOND } from '../../util/clock.ts';
import { problem, type HostFiles } from '../../host/host-files.ts';

/** Not a record, as its name begins with a dot. */
const LOCK_FILE = '.lock';
/** Milliseconds; a run takes far less than a second. */
const LOCK_TIMEOUT = 30 * SECOND;
const ASK_AGAIN = 50;
const SQLITE_BUSY = 5;

/**
 * Waits for the lock. The file is removed when the lock is released.
 * @param timeout milliseconds
 * @throws WeirError `runtime_config` if another process keeps the lock for longer
 */
export async function lockHost(
  files: HostFiles,
  stateFolder: string,
  timeout: number = LOCK_TIMEOUT,
): Promise<AsyncDisposable> {
  const path = posix.join(stateFolder, LOCK_FILE);
  for (let waited = 0; ; waited += ASK_AGAIN) {
    const db = await tryLock(files, path);
    if (db !== undefined) {
      return {
        [Symbol.asyncDispose]: async () => {
          await files.remove(path); // while the lock is held: see tryLock
          db.close();
          await files.removeEmpty([stateFolder]);
        },
      };
    }
    if (waited >= timeout) {
      const seconds = timeout / SECOND;
      throw problem(
        path,
        `is held by another "weir host", for more than ${seconds} s: try again when that has ended`,
      );
    }
    await delay(ASK_AGAIN);
  }
}

/** Undefined if another process has the lock, or another call in this one. */
async function tryLock(files: HostFiles, path: string): Promise<DatabaseSync | undefined> {
  await files.makePrivateFolder(posix.dirname(path));
  const file = await files.locate(path);
  let db: DatabaseSync | undefined;
  try {
    if ((await inode(file)) === undefined) new DatabaseSync(file).close(); // makes it
    const before = await inode(file);
    db = new DatabaseSync(file, { timeout: 0 });
    db.exec('BEGIN EXCLUSIVE');
    // The previous holder removes the file: a lock on a removed file locks nobody out.
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
