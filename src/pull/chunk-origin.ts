/**
 * Upstream as the swarm's policy asks it: chunk by chunk. What has come of a chunk when its request ends early is kept
 * for a while, and the next request for it goes on from there: no byte leaves the registry twice for that.
 */
import { toWeirError, WeirError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { ChunkLayout } from '../store/chunk-layout.ts';
import type { Origin, OriginEvents } from '../swarm/environment.ts';
import type { PiecePool } from '../transfer/piece-pool.ts';
import { remoteCallerOf, type Caller } from '../upstream/caller.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { PullRequest } from './access.ts';

/** Chunks of a blob that are kept in part. */
const MAX_UNFINISHED = 4;

export interface ChunkOriginOptions {
  readonly upstream: Pick<Upstream, 'openBlob'>;
  readonly request: PullRequest;
  readonly digest: Digest;
  readonly layout: ChunkLayout;
  /** Chunks are gathered in this. */
  readonly memory: PiecePool;
  readonly signal: AbortSignal;
  /** All who wait for the blob now. */
  readonly callers: () => readonly Caller[];
}

/** A chunk as far as it has come. */
interface Unfinished {
  index: number;
  chunk: Uint8Array<ArrayBuffer>;
  filled: number;
}

export class ChunkOrigin implements Origin {
  readonly #options: ChunkOriginOptions;
  readonly #unfinished: Map<number, Unfinished> = new Map();

  constructor(options: ChunkOriginOptions) {
    this.#options = options;
  }

  fetch(first: number, count: number, token: string | undefined, events: OriginEvents): () => void {
    const stop = new AbortController();
    const coming = this.#resume(first);
    let over = false;
    const end = (): boolean => {
      if (over) return false;
      over = true;
      this.#keep(coming);
      return true;
    };
    const ended = (error: WeirError | undefined): void => void (end() && events.ended(error));
    this.#fetch(coming, first + count, token, events, stop.signal).then(
      () => ended(undefined),
      (error: unknown) => ended(toWeirError(error)),
    );
    return () => {
      if (end()) stop.abort(new WeirError('aborted', 'the chunk is not wanted any more'));
    };
  }

  /** @param end excluded */
  async #fetch(
    coming: Unfinished,
    end: number,
    token: string | undefined,
    events: OriginEvents,
    stop: AbortSignal,
  ): Promise<void> {
    const { upstream, request, digest, layout, signal, callers } = this.#options;
    const { registry } = request.repository;
    const delegated = token === undefined ? [] : [remoteCallerOf(registry, token)];
    const stream = await upstream.openBlob(request.repository, digest, {
      start: layout.start(coming.index) + coming.filled,
      end: layout.end(end - 1),
      caller: request.caller,
      callers: () => [...callers(), ...delegated],
      retries: 0, // the policy tries again, and has peers to ask meanwhile
      signal: AbortSignal.any([stop, signal]),
    });
    if (stream.size !== layout.size) {
      throw new WeirError('upstream_protocol', `upstream says that ${digest} has ${stream.size} bytes`);
    }
    for await (const piece of stream.chunks) {
      if (stop.aborted) return;
      events.progressed(piece.length);
      this.#cut(coming, piece, events, stop);
    }
  }

  /** Fills chunk after chunk. */
  #cut(coming: Unfinished, piece: Uint8Array, events: OriginEvents, stop: AbortSignal): void {
    const { layout, memory } = this.#options;
    for (let done = 0; done < piece.length && coming.index < layout.count && !stop.aborted;) {
      const { chunk, filled, index } = coming;
      const part = piece.subarray(done, done + chunk.length - filled);
      chunk.set(part, filled);
      coming.filled += part.length;
      done += part.length;
      if (coming.filled < chunk.length) return;
      Object.assign(coming, this.#begin(index + 1));
      events.chunk(index, chunk, () => memory.give(chunk));
    }
  }

  #begin(index: number): Unfinished {
    const { layout, memory } = this.#options;
    const length = index < layout.count ? layout.length(index) : 0;
    return { index, chunk: memory.take(length), filled: 0 };
  }

  #resume(index: number): Unfinished {
    const kept = this.#unfinished.get(index);
    this.#unfinished.delete(index);
    return kept ?? this.#begin(index);
  }

  #keep(coming: Unfinished): void {
    const { memory } = this.#options;
    if (coming.filled === 0) return memory.give(coming.chunk);
    this.#unfinished.set(coming.index, coming);
    for (const [oldest, { chunk }] of this.#unfinished) {
      if (this.#unfinished.size <= MAX_UNFINISHED) return;
      this.#unfinished.delete(oldest);
      memory.give(chunk);
    }
  }
}
