/**
 * Upstream as the swarm's policy asks it: chunk by chunk. If a request ends early, the bytes of its unfinished chunk
 * are kept for a while. The next request goes on from there, so that no byte leaves the registry twice for that.
 */
import { toWeirError, WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { ReceiveBudget } from '../util/receive-budget.ts';
import type { ChunkUpstream, ChunkUpstreamEvents } from '../swarm/environment.ts';
import type { ChunkBuffers } from '../transfer/chunk-buffers.ts';
import { remoteCallerOf, type Caller } from '../upstream/caller.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { PullRequest } from './access.ts';
import type { UnfinishedChunks } from './unfinished-chunks.ts';

export interface UpstreamChunksOptions {
  readonly upstream: Pick<Upstream, 'openBlob'>;
  readonly request: PullRequest;
  readonly digest: Digest;
  readonly layout: ChunkLayout;
  /** Memory in which chunks are put together. */
  readonly memory: ChunkBuffers;
  /** Bounds the bytes that are received and not written yet. */
  readonly room: ReceiveBudget;
  /** Keeps chunks that came only in part, under the name of this pull. */
  readonly unfinished: UnfinishedChunks;
  readonly name: string;
  readonly signal: AbortSignal;
  /** All callers that wait for the blob now. */
  readonly callers: () => readonly Caller[];
}

/** A chunk that is arriving. */
interface Coming {
  index: number;
  /** Undefined before the chunk's first byte: until then it takes no room. */
  chunk: Uint8Array<ArrayBuffer> | undefined;
  filled: number;
}

export class UpstreamChunks implements ChunkUpstream {
  readonly #options: UpstreamChunksOptions;

  constructor(options: UpstreamChunksOptions) {
    this.#options = options;
  }

  fetch(first: number, count: number, token: string | undefined, events: ChunkUpstreamEvents): () => void {
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
    coming: Coming,
    end: number,
    token: string | undefined,
    events: ChunkUpstreamEvents,
    stop: AbortSignal,
  ): Promise<void> {
    const { upstream, request, digest, layout, signal, callers } = this.#options;
    const { registry } = request.repository;
    const delegated = token === undefined ? [] : [remoteCallerOf(registry, token)];
    const either = AbortSignal.any([stop, signal]);
    const stream = await upstream.openBlob(request.repository, digest, {
      start: layout.start(coming.index) + coming.filled,
      end: layout.end(end - 1),
      caller: request.caller,
      callers: () => [...callers(), ...delegated],
      retries: 0, // the policy tries again, and has peers to ask meanwhile
      signal: either,
    });
    if (stream.size !== layout.size) {
      throw new WeirError('upstream_protocol', `upstream says that ${digest} has ${stream.size} bytes`);
    }
    for await (const bytes of stream.chunks) {
      if (stop.aborted) return;
      events.progressed(bytes.length);
      for (let done = 0; done < bytes.length && coming.index < layout.count && !stop.aborted;) {
        if (coming.chunk === undefined) await this.#begin(coming, events, either);
        else done += this.#fill(coming, coming.chunk, bytes.subarray(done), events);
      }
    }
  }

  /** Gets memory for the chunk; nothing is read until there is room. @throws the signal's reason */
  async #begin(coming: Coming, events: ChunkUpstreamEvents, signal: AbortSignal): Promise<void> {
    const { layout, memory, room } = this.#options;
    const length = layout.length(coming.index);
    if (!room.tryTake(length)) {
      events.held(true);
      await room.take(length, signal);
      if (signal.aborted) {
        room.give(length); // it was given up in the moment in which it got room
        throw signal.reason;
      }
      events.held(false);
    }
    coming.chunk = memory.take(length);
  }

  /** Copies bytes into the chunk, and hands it over once it is whole. @returns the number of bytes that it took */
  #fill(
    coming: Coming,
    chunk: Uint8Array<ArrayBuffer>,
    bytes: Uint8Array,
    events: ChunkUpstreamEvents,
  ): number {
    const { index } = coming;
    const part = bytes.subarray(0, chunk.length - coming.filled);
    chunk.set(part, coming.filled);
    coming.filled += part.length;
    if (coming.filled === chunk.length) {
      Object.assign(coming, { index: index + 1, chunk: undefined, filled: 0 });
      events.chunk(index, chunk, () => this.#release(chunk));
    }
    return part.length;
  }

  #release(chunk: Uint8Array<ArrayBuffer>): void {
    const { memory, room } = this.#options;
    memory.give(chunk);
    room.give(chunk.length);
  }

  /** Goes on with an unfinished chunk, if there is one and there is room for it. */
  #resume(index: number): Coming {
    const { unfinished, name, memory, room } = this.#options;
    const kept = unfinished.take(name, index);
    if (kept !== undefined && room.tryTake(kept.chunk.length)) return { ...kept };
    if (kept !== undefined) memory.give(kept.chunk);
    return { index, chunk: undefined, filled: 0 };
  }

  #keep({ index, chunk, filled }: Coming): void {
    const { unfinished, name, room } = this.#options;
    if (chunk === undefined) return;
    if (filled === 0) return this.#release(chunk);
    room.give(chunk.length);
    unfinished.keep(name, { index, chunk, filled });
  }
}
