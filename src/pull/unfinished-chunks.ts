/**
 * Chunks that came only in part because their request to upstream ended early. The next request goes on from there.
 * They are kept for the whole node, and bounded, because the next request may never come.
 */
import { MIB } from '../util/clock.ts';
import type { ChunkBuffers } from '../transfer/chunk-buffers.ts';

/** Bytes that are kept: the unfinished chunks of a dozen requests. */
const MAX_KEPT = 16 * MIB;

/** A chunk and the number of its bytes that have come. */
export interface UnfinishedChunk {
  readonly index: number;
  readonly chunk: Uint8Array<ArrayBuffer>;
  readonly filled: number;
}

export class UnfinishedChunks {
  readonly #memory: ChunkBuffers;
  /** By pull and index, the oldest first. */
  readonly #kept: Map<string, UnfinishedChunk> = new Map();
  #bytes = 0;

  /** @param memory takes back the buffers of chunks that are dropped */
  constructor(memory: ChunkBuffers) {
    this.#memory = memory;
  }

  /** Bytes that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  keep(pull: string, unfinished: UnfinishedChunk): void {
    const key = keyOf(pull, unfinished.index);
    this.#drop(key);
    this.#kept.set(key, unfinished);
    this.#bytes += unfinished.chunk.length;
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= MAX_KEPT) return;
      this.#drop(oldest);
    }
  }

  /** Hands the chunk over. */
  take(pull: string, index: number): UnfinishedChunk | undefined {
    const key = keyOf(pull, index);
    const found = this.#kept.get(key);
    if (found === undefined) return undefined;
    this.#kept.delete(key);
    this.#bytes -= found.chunk.length;
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
    this.#bytes -= found.chunk.length;
    this.#memory.give(found.chunk);
  }
}

function keyOf(pull: string, index: number | ''): string {
  return `${pull} #${index}`;
}
