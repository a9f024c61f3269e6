/**
 * What must outlive a restart besides blobs, in one SQLite file:
 *
 * - media types of manifests (a file of bytes does not tell its own),
 * - tags: the last digest that upstream named, for when it cannot be reached,
 * - members: which repository was seen to hold which digest,
 * - listed: which digests, of which size, a manifest of a repository lists,
 * - grants: which caller upstream accepted for which repository, and when; callers are kept as keyed hashes,
 * - challenges: the WWW-Authenticate that upstream last answered with, for when it cannot be reached.
 *
 * SQLite's exclusive lock on the file is also the lock on the data folder: the kernel drops it when the owner
 * dies in whatever way, so a stale lock cannot happen.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { randomBytes } from 'node:crypto';
import { chmodSync, renameSync, rmSync } from 'node:fs';
import { errorMessage, WeirError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { FILE_MODE } from './data-folder.ts';

/** Rows of each table; the oldest go first. At about 150 bytes a row this bounds the file to some 100 MiB. */
const MAX_ROWS = 200_000;
/** Answers for one tag that are looked at: runtimes have a handful of Accept headers between them. */
const MAX_TAG_ROWS = 50;
/** How many rows are written between two looks at the bound. */
const PRUNE_EVERY = 10_000;
const SQLITE_BUSY = 5;
const SQLITE_IOERR = 10;
const SQLITE_FULL = 13;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;
/**
 * Rises when the tables change. A catalog of an older version gets the tables that it lacks ({@link SCHEMA}); one of a newer
 * version is refused.
 */
const SCHEMA_VERSION = 2;

const SCHEMA = `
CREATE TABLE IF NOT EXISTS media_types (digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS tags (
  repository TEXT NOT NULL, tag TEXT NOT NULL, accept TEXT NOT NULL,
  digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER, at INTEGER NOT NULL,
  PRIMARY KEY (repository, tag, accept));
CREATE TABLE IF NOT EXISTS members (
  registry TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (digest, registry, name));
CREATE TABLE IF NOT EXISTS listed (
  registry TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (digest, registry, name));
CREATE TABLE IF NOT EXISTS grants (
  repository TEXT NOT NULL, caller TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (repository, caller));
CREATE TABLE IF NOT EXISTS challenges (repository TEXT PRIMARY KEY, challenge TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, value BLOB NOT NULL);
`;
const TABLES = ['media_types', 'tags', 'members', 'listed', 'grants', 'challenges'] as const;

export interface TagRecord {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number | undefined;
  /** Milliseconds since the epoch, of upstream's answer. */
  readonly at: number;
}

export class Catalog implements Disposable {
  readonly #db: DatabaseSync;
  readonly #statements: Map<string, StatementSync> = new Map();
  readonly #onProblem: (message: string) => void;
  #writes = 0;
  /** The last write failed: the disk is full. Told once, until one succeeds. */
  #failing = false;

  private constructor(db: DatabaseSync, onProblem: (message: string) => void) {
    this.#db = db;
    this.#onProblem = onProblem;
  }

  /**
   * Opens or makes the catalog at `path` (`:memory:` for one that is not kept). A damaged file is set aside as
   * `<path>.damaged` and begun anew: what it held is won back from upstream.
   * @throws WeirError `store_locked` where another process has it, `store_unusable` where a newer version wrote it, or
   *   where it cannot be opened
   */
  static open(path: string, onProblem: (message: string) => void = () => undefined): Catalog {
    try {
      return new Catalog(openDatabase(path), onProblem);
    } catch (cause) {
      if (cause instanceof WeirError) throw cause;
      const code = sqliteCode(cause);
      if (code === SQLITE_BUSY) {
        const message = `another weir node uses this data folder (${path} is locked): give each its own --data-dir`;
        throw new WeirError('store_locked', message, { cause });
      }
      if (code !== SQLITE_CORRUPT && code !== SQLITE_NOTADB) {
        throw new WeirError('store_unusable', `cannot open ${path}: ${errorMessage(cause)}`, { cause });
      }
      onProblem(`${path} is damaged (${errorMessage(cause)}): set aside, begun anew`);
      renameSync(path, `${path}.damaged`);
      for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
      return new Catalog(openDatabase(path), onProblem);
    }
  }

  /** A random key of this data folder, made at the first call. */
  key(name: string): Uint8Array {
    const known = this.#prepare('SELECT value FROM keys WHERE name = ?').get(name);
    if (known !== undefined) return known['value'] as Uint8Array;
    const made = new Uint8Array(randomBytes(32));
    this.#write('INSERT INTO keys (name, value) VALUES (?, ?)', name, made);
    return made;
  }

  setMediaType(digest: Digest, mediaType: string, at: number): void {
    this.#write('INSERT OR REPLACE INTO media_types VALUES (?, ?, ?)', digest, mediaType, at);
  }

  mediaType(digest: Digest): string | undefined {
    return this.#text('SELECT media_type AS value FROM media_types WHERE digest = ?', digest);
  }

  setTag(repository: string, tag: string, accept: string, record: TagRecord): void {
    const { digest, mediaType, size, at } = record;
    const sql = 'INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?, ?, ?, ?)';
    this.#write(sql, repository, tag, accept, digest, mediaType, size ?? null, at);
  }

  /** What upstream named for the tag, by the Accept header that it was asked with; the newest first. */
  tags(repository: string, tag: string): readonly (TagRecord & { readonly accept: string })[] {
    const columns = 'accept, digest, media_type, size, at';
    const sql = `SELECT ${columns} FROM tags WHERE repository = ? AND tag = ? ORDER BY at DESC LIMIT ${MAX_TAG_ROWS}`;
    const rows = this.#prepare(sql).all(repository, tag);
    return rows.map((row) => ({
      accept: row['accept'] as string,
      digest: row['digest'] as Digest,
      mediaType: row['media_type'] as string,
      size: (row['size'] as number | null) ?? undefined,
      at: row['at'] as number,
    }));
  }

  deleteTag(repository: string, tag: string): void {
    this.#write('DELETE FROM tags WHERE repository = ? AND tag = ?', repository, tag);
  }

  addMember(registry: string, name: string, digest: Digest, at: number): void {
    this.#write('INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?)', registry, name, digest, at);
  }

  removeMember(registry: string, name: string, digest: Digest): void {
    this.#write('DELETE FROM members WHERE digest = ? AND registry = ? AND name = ?', digest, registry, name);
  }

  isMember(registry: string, name: string, digest: Digest): boolean {
    const sql = 'SELECT 1 AS value FROM members WHERE digest = ? AND registry = ? AND name = ?';
    return this.#prepare(sql).get(digest, registry, name) !== undefined;
  }

  /** Whether any repository of `registry` was seen to hold the digest. */
  isKnownTo(registry: string, digest: Digest): boolean {
    const sql = 'SELECT 1 AS value FROM members WHERE digest = ? AND registry = ? LIMIT 1';
    return this.#prepare(sql).get(digest, registry) !== undefined;
  }

  /** A manifest that upstream has in this repository lists the digest. */
  addListed(registry: string, name: string, digest: Digest, size: number, at: number): void {
    const sql = 'INSERT OR REPLACE INTO listed VALUES (?, ?, ?, ?, ?)';
    this.#write(sql, registry, name, digest, size, at);
  }

  /** The size that a manifest of the repository lists for the digest. */
  listedSize(registry: string, name: string, digest: Digest): number | undefined {
    const sql = 'SELECT size FROM listed WHERE digest = ? AND registry = ? AND name = ?';
    return this.#prepare(sql).get(digest, registry, name)?.['size'] as number | undefined;
  }

  setGrant(repository: string, caller: string, at: number): void {
    this.#write('INSERT OR REPLACE INTO grants VALUES (?, ?, ?)', repository, caller, at);
  }

  deleteGrant(repository: string, caller: string): void {
    this.#write('DELETE FROM grants WHERE repository = ? AND caller = ?', repository, caller);
  }

  /** When upstream accepted the caller last, in milliseconds since the epoch. */
  grantedAt(repository: string, caller: string): number | undefined {
    const row = this.#prepare('SELECT at FROM grants WHERE repository = ? AND caller = ?').get(
      repository,
      caller,
    );
    return row?.['at'] as number | undefined;
  }

  setChallenge(repository: string, challenge: string, at: number): void {
    this.#write('INSERT OR REPLACE INTO challenges VALUES (?, ?, ?)', repository, challenge, at);
  }

  challenge(repository: string): string | undefined {
    return this.#text('SELECT challenge AS value FROM challenges WHERE repository = ?', repository);
  }

  #text(sql: string, parameter: string): string | undefined {
    return this.#prepare(sql).get(parameter)?.['value'] as string | undefined;
  }

  /**
   * What cannot be written because the disk is full is not remembered: upstream will be asked again. (A grant that
   * cannot be withdrawn ends with its time.)
   */
  #write(sql: string, ...parameters: readonly SQLInputValue[]): void {
    try {
      this.#prepare(sql).run(...parameters);
      if (++this.#writes % PRUNE_EVERY === 0) this.#prune();
      this.#failing = false;
    } catch (error) {
      const code = sqliteCode(error);
      if (code !== SQLITE_FULL && code !== SQLITE_IOERR) throw error;
      if (!this.#failing) this.#onProblem(`the catalog cannot be written: ${errorMessage(error)}`);
      this.#failing = true;
    }
  }

  #prune(): void {
    for (const table of TABLES) {
      this.#db.exec(`DELETE FROM ${table} WHERE rowid IN
        (SELECT rowid FROM ${table} ORDER BY at DESC LIMIT -1 OFFSET ${MAX_ROWS})`);
    }
  }

  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#db.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  [Symbol.dispose](): void {
    this.#statements.clear();
    this.#db.close();
  }
}

function openDatabase(path: string): DatabaseSync {
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
    if (version < SCHEMA_VERSION) db.exec(`${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION};`);
    db.exec('COMMIT');
    if (path !== ':memory:') chmodSync(path, FILE_MODE);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function sqliteCode(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return undefined;
  return typeof error.errcode === 'number' ? error.errcode & 0xff : undefined;
}
