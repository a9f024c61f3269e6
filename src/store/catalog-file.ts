/** The file of the catalog: its tables, its version, its lock, and SQLite's error codes. */
import { DatabaseSync } from 'node:sqlite';
import { chmodSync } from 'node:fs';
import { WeirError } from '../util/errors.ts';
import { FILE_MODE } from './data-folder.ts';

export const SQLITE_BUSY = 5;
export const SQLITE_IOERR = 10;
export const SQLITE_FULL = 13;
export const SQLITE_CORRUPT = 11;
export const SQLITE_NOTADB = 26;
/**
 * Rises when the tables change. Rows of an older version are dropped, as upstream gives them again, except for those that
 * nobody gives again ({@link KEPT}). A catalog of a newer version is refused.
 */
const SCHEMA_VERSION = 3;

const SCHEMA = `
CREATE TABLE proofs (
  registry TEXT NOT NULL, digest TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (registry, digest));
CREATE TABLE served (
  registry TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (digest, registry, name));
CREATE TABLE listed (
  registry TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, kind TEXT NOT NULL, size INTEGER NOT NULL,
  at INTEGER NOT NULL, PRIMARY KEY (digest, registry, name, kind));
CREATE TABLE tags (
  registry TEXT NOT NULL, name TEXT NOT NULL, tag TEXT NOT NULL, accept TEXT NOT NULL,
  digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER, at INTEGER NOT NULL,
  PRIMARY KEY (registry, name, tag, accept));
CREATE TABLE types (
  registry TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (digest, registry));
CREATE TABLE grants (
  registry TEXT NOT NULL, name TEXT NOT NULL, caller TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (registry, name, caller));
CREATE TABLE challenges (
  registry TEXT NOT NULL, name TEXT NOT NULL, challenge TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (registry, name));
`;
/** Made in catalogs of any version: rows of these tables outlive a change of the others. */
const KEPT = `
CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS pins (digest TEXT PRIMARY KEY, size INTEGER NOT NULL, at INTEGER NOT NULL);
`;
/** All tables that have rows of registries. */
export const TABLES = ['proofs', 'served', 'listed', 'tags', 'types', 'grants', 'challenges'] as const;

/**
 * Opens or makes the file, and holds its lock.
 * @throws WeirError `store_unusable` if a newer version wrote it; errors of SQLite
 */
export function openDatabase(path: string): DatabaseSync {
  const db = new DatabaseSync(path);
  try {
    db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;');
    db.exec('BEGIN IMMEDIATE');
    const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
    if (version > SCHEMA_VERSION) {
      const message =
        `${path} was written by a newer weir (form ${version}, this one knows ${SCHEMA_VERSION}): ` +
        'run that version, remove the data folder (it is a cache), or give this one another --data-dir';
      throw new WeirError('store_unusable', message);
    }
    if (version < SCHEMA_VERSION)
      db.exec(`${dropAll(db)} ${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION};`);
    db.exec(KEPT);
    db.exec('COMMIT');
    if (path !== ':memory:') chmodSync(path, FILE_MODE);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** The SQL that drops all tables but those of {@link KEPT}. */
function dropAll(db: DatabaseSync): string {
  const sql =
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('keys', 'pins', 'sqlite_sequence')";
  return db
    .prepare(sql)
    .all()
    .map(({ name }) => `DROP TABLE "${String(name)}";`)
    .join(' ');
}

/** The primary result code of an error of SQLite. */
export function sqliteCode(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return undefined;
  return typeof error.errcode === 'number' ? error.errcode & 0xff : undefined;
}
