/**
 * Facts that must outlive a restart besides blobs, in one SQLite file:
 *
 * - proofs: which registry has delivered which bytes, whole and verified,
 * - served: which repository was seen to serve which digest, by a HEAD or a GET,
 * - listed: which digests a manifest of a repository lists, with their sizes and kind,
 * - tags: the last digest that upstream named, for times when upstream cannot be reached,
 * - types: media types of manifests that do not name their own, as each registry names them,
 * - grants: which caller upstream accepted for which repository, and when; callers are kept as keyed hashes,
 * - challenges: the last WWW-Authenticate of upstream, for times when upstream cannot be reached,
 * - pins: blobs that an operator wants to be kept (pins.ts).
 *
 * The first two are kept apart: if a registry says that it has a digest, that proves nothing about the bytes.
 *
 * SQLite's exclusive lock on the file is also the lock on the data folder. The kernel drops it however the process
 * dies, so a stale lock cannot happen.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { randomBytes } from 'node:crypto';
import { renameSync, rmSync } from 'node:fs';
import { errorMessage, WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RegistryHost, Repository } from '../oci/repository.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import {
  openDatabase,
  SQLITE_BUSY,
  SQLITE_CORRUPT,
  SQLITE_FULL,
  SQLITE_IOERR,
  SQLITE_NOTADB,
  sqliteCode,
  TABLES,
} from './catalog-file.ts';
import { Pins } from './pins.ts';

/**
 * Rows of each table. At about 150 bytes a row, this bounds the file to some 100 MiB. Above it, the registries with
 * most rows lose their oldest ones, so that a busy registry cannot push out the rows of others.
 */
const MAX_ROWS = 200_000;
/** Answers for one tag that are read: all runtimes together have a handful of Accept headers. */
const MAX_TAG_ROWS = 50;
/** Repositories of one digest that are told. */
const MAX_ORIGINS = 5;
/** Rows that are written between two checks of the bound. */
const PRUNE_EVERY = 10_000;
/** The kind of a listed digest: an index lists manifests, a manifest lists blobs. */
export type ListedAs = 'manifest' | 'blob';

export interface TagRecord {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number | undefined;
  /** Time of upstream's answer, in milliseconds since the epoch. */
  readonly at: number;
}

export class Catalog implements Disposable {
  readonly pins: Pins;
  readonly #db: DatabaseSync;
  readonly #statements: Map<string, StatementSync> = new Map();
  readonly #onProblem: (message: string) => void;
  #writes = 0;
  /** The last write failed because the disk is full. Reported once, until a write succeeds. */
  #failing = false;

  private constructor(db: DatabaseSync, onProblem: (message: string) => void) {
    this.pins = new Pins(db);
    this.#db = db;
    this.#onProblem = onProblem;
  }

  /**
   * Opens or makes the catalog at `path` (`:memory:` for one that is not kept). A damaged file is set aside as
   * `<path>.damaged` and a new one begun: upstream gives its contents again.
   * @throws WeirError `store_locked` if another process has it; `store_unusable` if a newer version wrote it, or if it
   *   cannot be opened
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

  /** This registry has delivered the whole blob, and its digest was verified. */
  addProof({ registry, digest }: RegistryBlob, at: number): void {
    this.#write('INSERT OR REPLACE INTO proofs VALUES (?, ?, ?)', registry, digest, at);
  }

  isProven({ registry, digest }: RegistryBlob): boolean {
    const sql = 'SELECT 1 AS value FROM proofs WHERE digest = ? AND registry = ?';
    return this.#prepare(sql).get(digest, registry) !== undefined;
  }

  /** Whether this registry has delivered anything. */
  hasDelivered(registry: RegistryHost): boolean {
    return (
      this.#prepare('SELECT 1 AS value FROM proofs WHERE registry = ? LIMIT 1').get(registry) !== undefined
    );
  }

  /** Upstream says that this repository has the digest. */
  addServed({ registry, name }: Repository, digest: Digest, at: number): void {
    this.#write('INSERT OR REPLACE INTO served VALUES (?, ?, ?, ?)', registry, name, digest, at);
  }

  /** Upstream says that this repository does not have the digest, even if a manifest lists it. */
  removeFromRepository({ registry, name }: Repository, digest: Digest): void {
    for (const table of ['served', 'listed']) {
      const sql = `DELETE FROM ${table} WHERE digest = ? AND registry = ? AND name = ?`;
      this.#write(sql, digest, registry, name);
    }
  }

  isServed({ registry, name }: Repository, digest: Digest): boolean {
    const sql = 'SELECT 1 AS value FROM served WHERE digest = ? AND registry = ? AND name = ?';
    return this.#prepare(sql).get(digest, registry, name) !== undefined;
  }

  /** A manifest that upstream has in this repository lists these digests. */
  addListed(
    { registry, name }: Repository,
    kind: ListedAs,
    listed: readonly { readonly digest: Digest; readonly size: number }[],
    at: number,
  ): void {
    const sql = 'INSERT OR REPLACE INTO listed VALUES (?, ?, ?, ?, ?, ?)';
    const rows = listed.map(({ digest, size }) => [registry, name, digest, kind, size, at]);
    this.#writeAll(sql, rows);
  }

  /** The size that a manifest of the repository lists for the digest. */
  listedSize({ registry, name }: Repository, kind: ListedAs, digest: Digest): number | undefined {
    const sql = 'SELECT size FROM listed WHERE digest = ? AND registry = ? AND name = ? AND kind = ?';
    return this.#prepare(sql).get(digest, registry, name, kind)?.['size'] as number | undefined;
  }

  setTag({ registry, name }: Repository, tag: string, accept: string, record: TagRecord): void {
    const { digest, mediaType, size, at } = record;
    const sql = 'INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?, ?, ?, ?, ?)';
    this.#write(sql, registry, name, tag, accept, digest, mediaType, size ?? null, at);
  }

  /** Upstream's answers for the tag, one for each Accept header; the newest first. */
  tags({ registry, name }: Repository, tag: string): readonly (TagRecord & { readonly accept: string })[] {
    const columns = 'accept, digest, media_type, size, at';
    const sql = `SELECT ${columns} FROM tags WHERE registry = ? AND name = ? AND tag = ? ORDER BY at DESC LIMIT ${MAX_TAG_ROWS}`;
    const rows = this.#prepare(sql).all(registry, name, tag);
    return rows.map((row) => ({
      accept: row['accept'] as string,
      digest: row['digest'] as Digest,
      mediaType: row['media_type'] as string,
      size: (row['size'] as number | null) ?? undefined,
      at: row['at'] as number,
    }));
  }

  deleteTag({ registry, name }: Repository, tag: string): void {
    this.#write('DELETE FROM tags WHERE registry = ? AND name = ? AND tag = ?', registry, name, tag);
  }

  /** The registry's media type of a manifest that does not name its own. */
  setMediaType({ registry, digest }: RegistryBlob, mediaType: string, at: number): void {
    this.#write('INSERT OR REPLACE INTO types VALUES (?, ?, ?, ?)', registry, digest, mediaType, at);
  }

  mediaType({ registry, digest }: RegistryBlob): string | undefined {
    const sql = 'SELECT media_type AS value FROM types WHERE digest = ? AND registry = ?';
    return this.#prepare(sql).get(digest, registry)?.['value'] as string | undefined;
  }

  /** Repositories that upstream was seen to serve the digest from, a few of them, and what it is, if a manifest or tag tells. */
  originOf(digest: Digest): {
    readonly repositories: readonly string[];
    readonly kind: ListedAs | undefined;
  } {
    const served = `SELECT registry, name FROM served WHERE digest = ? LIMIT ${MAX_ORIGINS}`;
    const rows = this.#prepare(served).all(digest);
    const listed = this.#prepare('SELECT kind FROM listed WHERE digest = ? LIMIT 1').get(digest);
    const typed = this.#prepare('SELECT 1 FROM types WHERE digest = ? LIMIT 1').get(digest);
    return {
      repositories: rows.map((row) => `${String(row['registry'])}/${String(row['name'])}`),
      kind: (listed?.['kind'] as ListedAs | undefined) ?? (typed === undefined ? undefined : 'manifest'),
    };
  }

  /** The digests that tags name. */
  taggedDigests(): ReadonlySet<string> {
    return new Set(
      this.#prepare('SELECT DISTINCT digest FROM tags')
        .all()
        .map((row) => String(row['digest'])),
    );
  }

  setGrant({ registry, name }: Repository, caller: string, at: number): void {
    this.#write('INSERT OR REPLACE INTO grants VALUES (?, ?, ?, ?)', registry, name, caller, at);
  }

  deleteGrant({ registry, name }: Repository, caller: string): void {
    this.#write('DELETE FROM grants WHERE registry = ? AND name = ? AND caller = ?', registry, name, caller);
  }

  /** When upstream accepted the caller last, in milliseconds since the epoch. */
  grantedAt({ registry, name }: Repository, caller: string): number | undefined {
    const sql = 'SELECT at FROM grants WHERE registry = ? AND name = ? AND caller = ?';
    return this.#prepare(sql).get(registry, name, caller)?.['at'] as number | undefined;
  }

  setChallenge({ registry, name }: Repository, challenge: string, at: number): void {
    this.#write('INSERT OR REPLACE INTO challenges VALUES (?, ?, ?, ?)', registry, name, challenge, at);
  }

  challenge({ registry, name }: Repository): string | undefined {
    const sql = 'SELECT challenge AS value FROM challenges WHERE registry = ? AND name = ?';
    return this.#prepare(sql).get(registry, name)?.['value'] as string | undefined;
  }

  #write(sql: string, ...parameters: readonly SQLInputValue[]): void {
    this.#tolerant(() => this.#insert(sql, parameters));
  }

  /** Writes in one transaction: each row by itself would be a write to the disk that blocks everybody. */
  #writeAll(sql: string, rows: readonly (readonly SQLInputValue[])[]): void {
    this.#tolerant(() => {
      this.#db.exec('BEGIN');
      try {
        for (const row of rows) this.#insert(sql, row);
        this.#db.exec('COMMIT');
      } finally {
        if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      }
    });
  }

  #insert(sql: string, parameters: readonly SQLInputValue[]): void {
    this.#prepare(sql).run(...parameters);
    if (++this.#writes % PRUNE_EVERY === 0) this.#prune();
  }

  /**
   * If the disk is full, a write is lost, and upstream will be asked again. (A grant that cannot be withdrawn expires.)
   */
  #tolerant(write: () => void): void {
    try {
      write();
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
      const counts = this.#prepare(`SELECT COUNT(*) AS value FROM ${table} GROUP BY registry`).all();
      const level = waterLevel(
        counts.map((row) => row['value'] as number),
        MAX_ROWS,
      );
      if (level === undefined) continue;
      this.#prepare(`DELETE FROM ${table} WHERE rowid IN (SELECT rowid FROM
        (SELECT rowid, row_number() OVER (PARTITION BY registry ORDER BY at DESC, rowid DESC) AS rank FROM ${table})
        WHERE rank > ?)`).run(level);
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

/**
 * The level of max-min fairness: each gets what it wants up to this level, and all together get no more than `room`.
 * Undefined if all fit without one. Pure.
 */
export function waterLevel(wanted: readonly number[], room: number): number | undefined {
  let left = room;
  const ascending = wanted.toSorted((a, b) => a - b);
  for (const [at, want] of ascending.entries()) {
    const share = Math.floor(left / (ascending.length - at));
    if (want > share) return share;
    left -= want;
  }
  return undefined;
}
