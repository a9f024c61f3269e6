/**
 * Upstream as the swarm's policy asks it: chunk by chunk. A byte worker puts each chunk together and hashes it; whether it
 * may begin one is decided here, within the node's receive budget. If a request ends early, the bytes of its unfinished
 * chunk are kept for a while. The next request goes on from there, in the same worker, so that no byte leaves the registry
 * twice for that.
 */
import type { HeldChunk } from '../util/content.ts';
import { isWeirError, toWeirError, WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { ReceiveBudget } from '../util/receive-budget.ts';
import type { ByteFiles } from '../store/byte-files.ts';
import type { ChunkUpstream, ChunkUpstreamEvents } from '../swarm/environment.ts';
import type { ChunkSink, UnfinishedPlace } from '../upstream/blob-transport.ts';
import { remoteCallerOf, type Caller } from '../upstream/caller.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { BlobStream } from '../upstream/upstream-blob.ts';
import type { PullRequest } from './access.ts';
import { ChunkRoom } from './chunk-room.ts';
import type { UnfinishedChunks } from './unfinished-chunks.ts';

export interface UpstreamChunksOptions {
  readonly upstream: Pick<Upstream, 'openBlob'>;
  readonly request: PullRequest;
  readonly digest: Digest;
  readonly layout: ChunkLayout;
  /** Takes the memory of chunks back. */
  readonly files: Pick<ByteFiles, 'give'>;
  /** Bounds the bytes that are received and not written yet. */
  readonly room: ReceiveBudget;
  /** Keeps chunks that came only in part, under the name of this pull. */
  readonly unfinished: UnfinishedChunks;
  readonly name: string;
  readonly signal: AbortSignal;
  /** All callers that wait for the blob now. */
  readonly callers: () => readonly Caller[];
}

/** A request for some chunks. */
interface Fetching {
  readonly first: number;
  /** Excluded. */
  readonly end: number;
  readonly token: string | undefined;
  readonly events: ChunkUpstreamEvents;
  readonly stop: AbortController;
  readonly room: ChunkRoom;
  /** The next chunk, if it has come in part. */
  unfinished: UnfinishedPlace | undefined;
  /** No events are wanted any more. */
  over: boolean;
}

export class UpstreamChunks implements ChunkUpstream {
  readonly #options: UpstreamChunksOptions;
  /** Requests that were given up, and whose worker may still hold an unfinished chunk. */
  readonly #leaving: Set<Promise<void>> = new Set();
  #closed = false;

  constructor(options: UpstreamChunksOptions) {
    this.#options = options;
  }

  fetch(first: number, count: number, token: string | undefined, events: ChunkUpstreamEvents): () => void {
    const { layout, room, signal } = this.#options;
    const stop = new AbortController();
    const either = AbortSignal.any([stop.signal, signal]);
    const held = (isHeld: boolean): void => {
      if (!fetching.over) events.held(isHeld);
    };
    const fetching: Fetching = {
      first,
      end: first + count,
      token,
      events,
      stop,
      room: new ChunkRoom(first, { layout, room, signal: either, held }),
      unfinished: undefined,
      over: false,
    };
    const ended = (error?: WeirError): void => {
      if (fetching.over) return;
      fetching.over = true;
      events.ended(error);
    };
    const work = this.#fetch(fetching, either).then(
      () => this.#finish(fetching, undefined, ended),
      (error: unknown) => this.#finish(fetching, toWeirError(error), ended),
    );
    return () => {
      if (fetching.over) return;
      fetching.over = true;
      this.#leaving.add(work);
      void work.finally(() => this.#leaving.delete(work));
      stop.abort(new WeirError('aborted', 'the chunk is not wanted any more'));
    };
  }

  /** The pull is over: nothing is kept for it. */
  close(): void {
    this.#closed = true;
    this.#options.unfinished.forget(this.#options.name);
  }

  async #fetch(fetching: Fetching, signal: AbortSignal): Promise<void> {
    const { upstream, request, digest, layout, callers } = this.#options;
    const { first, end, token } = fetching;
    const { registry } = request.repository;
    const delegated = token === undefined ? [] : [remoteCallerOf(registry, token)];
    while (this.#leaving.size > 0) {
      await Promise.all(this.#leaving); // this request goes on with what they leave
      signal.throwIfAborted(); // otherwise it would wait for itself
    }
    fetching.unfinished = this.#resume(fetching);
    const stream = await upstream.openBlob(request.repository, digest, {
      start: layout.start(first) + (fetching.unfinished?.filled ?? 0),
      end: layout.end(end - 1),
      size: layout.size,
      caller: request.caller,
      callers: () => [...callers(), ...delegated],
      retries: 0, // the policy tries again, and has peers to ask meanwhile
      signal,
      worker: () => fetching.unfinished?.worker,
    });
    if (stream.size !== layout.size) {
      throw new WeirError('upstream_protocol', `upstream says that ${digest} has ${stream.size} bytes`);
    }
    if (stream.isWholeForPart) fetching.events.whole();
    if (fetching.over) stream.leave();
    else await this.#read(stream, fetching);
  }

  async #read(stream: BlobStream, fetching: Fetching): Promise<void> {
    const { layout } = this.#options;
    let at = layout.start(fetching.first) + (fetching.unfinished?.filled ?? 0);
    const sink: ChunkSink = {
      kind: 'chunks',
      size: layout.size,
      resume: () => {
        const { unfinished } = fetching;
        fetching.unfinished = undefined;
        return unfinished;
      },
      begin: (index) => fetching.room.take(index),
      chunk: (index, chunk) => this.#arrived(fetching, index, chunk),
      left: (unfinished) => void (fetching.unfinished = unfinished),
    };
    await stream.readInto(sink, (position) => {
      if (position > at && !fetching.over) fetching.events.progressed(position - at);
      at = Math.max(at, position);
    });
  }

  #arrived(fetching: Fetching, index: number, chunk: HeldChunk): void {
    const { files, room } = this.#options;
    const release = (): void => {
      files.give(chunk);
      room.give(chunk.length);
    };
    fetching.room.arrived(index);
    if (fetching.over) return release(); // it came as it was given up
    fetching.events.chunk(index, chunk, release);
    fetching.room.tell();
  }

  /** Goes on with an unfinished chunk, if there is one and there is room for it. */
  #resume({ first, room }: Fetching): UnfinishedPlace | undefined {
    const { unfinished, name, files } = this.#options;
    const kept = unfinished.take(name, first);
    if (kept === undefined || room.tryTake(first)) return kept;
    files.give(kept);
    return undefined;
  }

  #finish(fetching: Fetching, error: WeirError | undefined, ended: (error?: WeirError) => void): void {
    const { unfinished: kept, name, files } = this.#options;
    const { room, unfinished, stop } = fetching;
    stop.abort(error); // a response that is not read must not keep its connection
    room.close();
    const isLost = isWeirError(error, 'worker_lost'); // and with it what it held
    if (unfinished !== undefined && this.#closed) files.give(unfinished);
    else if (unfinished !== undefined && !isLost) kept.keep(name, unfinished);
    ended(isLost ? new WeirError('upstream_cut', error.message, { cause: error }) : error);
  }
}
