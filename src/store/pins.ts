/**
 * Blobs that an operator wants to be kept: they are never evicted. A pin outlives the blob, so that a blob that was damaged
 * and is fetched again is kept as before.
 *
 * A pin is on the disk when {@link Pins.add} returns, also if the machine loses power then.
 */
import type { DatabaseSync } from 'node:sqlite';
import { errorMessage, WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobInfo } from './store.ts';

/** Pins of one node; they are held in memory. An image has some ten blobs. */
const MAX_PINS = 10_000;

export class Pins {
  readonly #db: DatabaseSync;
  readonly #sizes: Map<Digest, number> = new Map();

  /** @param db with the table of pins */
  constructor(db: DatabaseSync) {
    this.#db = db;
    for (const { digest, size } of db.prepare('SELECT digest, size FROM pins').all())
      this.#sizes.set(digest as Digest, Number(size));
  }

  has(digest: Digest): boolean {
    return this.#sizes.has(digest);
  }

  get count(): number {
    return this.#sizes.size;
  }

  /** Of all pinned blobs, also of those that are not here. */
  get bytes(): number {
    let bytes = 0;
    for (const size of this.#sizes.values()) bytes += size;
    return bytes;
  }

  /** Pins all of them or none. @throws WeirError `store_full` if there are too many pins; `store_unusable` */
  add(blobs: readonly BlobInfo[], at: number): void {
    const added = blobs.filter(({ digest }) => !this.has(digest));
    if (this.count + added.length > MAX_PINS)
      throw new WeirError('store_full', `there would be more than ${MAX_PINS} pins`);
    const insert = this.#db.prepare('INSERT OR REPLACE INTO pins VALUES (?, ?, ?)');
    this.#write(() => {
      for (const { digest, size } of added) insert.run(digest, size, at);
    });
    for (const { digest, size } of added) this.#sizes.set(digest, size);
  }

  /** @returns the number of those that were pinned; @throws WeirError `store_unusable` */
  remove(digests: readonly Digest[]): number {
    const pinned = [...new Set(digests)].filter((digest) => this.has(digest));
    const remove = this.#db.prepare('DELETE FROM pins WHERE digest = ?');
    this.#write(() => {
      for (const digest of pinned) remove.run(digest);
    });
    for (const digest of pinned) this.#sizes.delete(digest);
    return pinned.length;
  }

  /** Writes in one transaction, and waits for the disk: other rows may be lost with the power, as upstream gives them again. */
  #write(write: () => void): void {
    const db = this.#db;
    try {
      db.exec('PRAGMA synchronous = FULL; BEGIN');
      write();
      db.exec('COMMIT');
    } catch (cause) {
      const message = `the pins cannot be written: ${errorMessage(cause)}`;
      throw new WeirError('store_unusable', message, { cause });
    } finally {
      if (db.isTransaction) db.exec('ROLLBACK');
      db.exec('PRAGMA synchronous = NORMAL');
    }
  }
}
