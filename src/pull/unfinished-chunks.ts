/**
 * Chunks in byte workers that came only in part because their request to upstream ended early. The next request goes on from there.
 * They are kept for the whole node, and bounded, because the next request may never come.
 */
import { MIB } from '../util/clock.ts';
import type { ByteFiles } from '../store/byte-files.ts';
import type { UnfinishedPlace } from '../upstream/blob-transport.ts';

/** Bytes that are kept: the unfinished chunks of a dozen requests. */
const MAX_KEPT = 16 * MIB;

export class UnfinishedChunks {
  readonly #files: Pick<ByteFiles, 'give'>;
  /** By pull and index, the oldest first. */
  readonly #kept: Map<string, UnfinishedPlace> = new Map();
  #bytes = 0;

  /** @param files takes back the memory of chunks that are dropped */
  constructor(files: Pick<ByteFiles, 'give'>) {
    this.#files = files;
  }

  /** Bytes that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  keep(pull: string, unfinished: UnfinishedPlace): void {
    const key = keyOf(pull, unfinished.index);
    this.#drop(key);
    this.#kept.set(key, unfinished);
    this.#bytes += unfinished.length;
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= MAX_KEPT) return;
      this.#drop(oldest);
    }
  }

  /** Hands the chunk over. */
  take(pull: string, index: number): UnfinishedPlace | undefined {
    const key = keyOf(pull, index);
    const found = this.#kept.get(key);
    if (found === undefined) return undefined;
    this.#kept.delete(key);
    this.#bytes -= found.length;
    return found;
  }

  /** The pull is over. */
  forget(pull: string): void {
    for (const key of this.#kept.keys()) if (key.startsWith(keyOf(pull, ''))) this.#drop(key);
  }

  #drop(key: string): void {
    const found = this.#kept.get(key);
    if (found === undefined) return;
    this.#kept.delete(key);
    this.#bytes -= found.length;
    this.#files.give(found);
  }
}

function keyOf(pull: string, index: number | ''): string {
  return `${pull} #${index}`;
}
