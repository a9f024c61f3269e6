/**
 * What the main thread and the byte workers say to each other.
 *
 * The main thread decides, and never sees content. A byte worker owns sockets and the memory of what is on its way; it
 * reads and writes files whose descriptors the main thread has opened, as threads of a process share descriptors.
 *
 * ```
 *                main thread                               byte worker (one or more)
 *   mirror, peers ─ exchange: "a request came"      ◄────  http       listeners (reusePort), heads, bodies from files
 *                 ─ "answer it with bytes 0 to n" ────►
 *   swarm         ─ "fetch this chunk from there" ────►    peers      connections to members, chunks into memory
 *                 ◄──── "it is at place 3, its hash is …"
 *   store         ─ "write place 3 to this file"  ────►    files      writes, reads, hashes
 *   upstream      ─ "send this request"           ────►    upstream   undici; bodies into files, places, or responses
 * ```
 *
 * Three rules:
 * - A message is about a request, a chunk or a file, never about a buffer. How far a blob has come is in shared memory
 *   (util/progress.ts), so a reader in any worker streams a growing blob without messages.
 * - Content is not copied between threads. A chunk in memory is named by its worker and its place there (HeldChunk), a
 *   file by its descriptor (FileContent). Documents (manifests, lists) are no content: the main thread parses them.
 * - A thread may end at any time. All that it had in hand fails with `worker_lost`, and is repeated elsewhere. Bytes that
 *   it had not reported as written do not count.
 *
 * Each part of a worker has its own messages, and is named in {@link ToWorker} and {@link ToMain}.
 */
import type { WireError } from './wire-error.ts';
import type { FilesCommand, FilesEvent } from './files-messages.ts';
import type { HttpCommand, HttpEvent } from './http-messages.ts';
import type { PeersCommand, PeersEvent } from './peers-messages.ts';
import type { UpstreamCommand, UpstreamEvent } from './upstream-messages.ts';

export interface ToWorker {
  readonly files: FilesCommand;
  readonly http: HttpCommand;
  readonly peers: PeersCommand;
  readonly upstream: UpstreamCommand;
}

export interface ToMain {
  readonly files: FilesEvent;
  readonly peers: PeersEvent;
  readonly http: HttpEvent;
  readonly upstream: UpstreamEvent;
}

export type PartName = keyof ToWorker;

/** To a worker. */
export type Down =
  | { [Part in PartName]: { readonly part: Part; readonly message: ToWorker[Part] } }[PartName]
  /** Answered with `alive`, so that a thread that hangs is noticed. */
  | { readonly part: 'ping' }
  /** Ends all work; the worker then closes its port. */
  | { readonly part: 'stop' };

/** From a worker. */
export type Up =
  | { [Part in PartName]: { readonly part: Part; readonly message: ToMain[Part] } }[PartName]
  /** `tid`: the kernel's number of the thread, if it can be known. */
  | { readonly part: 'started'; readonly tid: number | undefined }
  | { readonly part: 'alive' }
  | { readonly part: 'failed'; readonly error: WireError };
