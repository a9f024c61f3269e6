/** Files, as the main thread has byte workers work on them. Implements what the store asks for (store/byte-files.ts). */
import { toError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import { digestAlgorithm } from '../oci/digest.ts';
import type { ByteFiles, FollowedBlob, Following } from '../store/byte-files.ts';
import type { FileContent, HeldChunk } from '../util/content.ts';
import type { ByteThread, ByteWorkers } from './byte-workers.ts';
import type { FilesCommand, FilesEvent, Held, Survey } from './files-messages.ts';
import { fromWireError } from './wire-error.ts';

type WithCall = Extract<FilesCommand, { call: number }>;
type WithoutCall<Command> = Command extends unknown ? Omit<Command, 'call'> : never;

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class Files implements ByteFiles {
  readonly #workers: ByteWorkers;
  readonly #calls = new WeakMap<ByteThread, Map<number, Waiting>>();
  #nextCall = 0;

  constructor(workers: ByteWorkers) {
    this.#workers = workers;
    workers.onStart((thread) => this.#attach(thread));
  }

  async write(chunk: HeldChunk, fd: number, position: number, following?: Following): Promise<void> {
    const { place, worker } = chunk;
    const follower = following?.worker === worker ? following.call : undefined;
    await this.#call(this.#workers.get(worker), { kind: 'write', place, fd, position, follower });
  }

  give({ worker, place }: Pick<HeldChunk, 'worker' | 'place'>): void {
    this.#workers.find(worker)?.post('files', { kind: 'give', place });
  }

  async take({ worker, place }: HeldChunk): Promise<Uint8Array> {
    return (await this.#call(this.#workers.get(worker), { kind: 'take', place })) as Uint8Array;
  }

  /** Puts bytes into a worker's memory. */
  async hold(bytes: Uint8Array): Promise<HeldChunk> {
    const thread = this.#workers.next();
    const { place, hash } = (await this.#call(thread, { kind: 'hold', bytes })) as Held;
    return { worker: thread.id, place, hash, length: bytes.length };
  }

  follow(blob: FollowedBlob): Following {
    const thread = this.#workers.next();
    const { call, value } = this.#begin(thread, { kind: 'follow', ...blob });
    return {
      worker: thread.id,
      call,
      hash: value as Promise<string>,
      stop: () => thread.post('files', { kind: 'unfollow', call }),
    };
  }

  async check(
    { fd, size }: FileContent,
    hashes: Uint8Array,
    chunks: readonly number[],
  ): Promise<readonly number[]> {
    const found = await this.#call(this.#workers.next(), { kind: 'check', fd, size, hashes, chunks });
    return found as readonly number[];
  }

  async hash({ fd }: FileContent, start: number, end: number): Promise<Uint8Array> {
    return (await this.#call(this.#workers.next(), { kind: 'hash', fd, start, end })) as Uint8Array;
  }

  async survey({ fd, size }: FileContent, digest: Digest): Promise<Survey> {
    const algorithm = digestAlgorithm(digest);
    return (await this.#call(this.#workers.next(), { kind: 'survey', fd, size, algorithm })) as Survey;
  }

  #call(thread: ByteThread, command: WithoutCall<WithCall>): Promise<unknown> {
    return this.#begin(thread, command).value;
  }

  #begin(
    thread: ByteThread,
    command: WithoutCall<WithCall>,
  ): { readonly call: number; readonly value: Promise<unknown> } {
    const call = this.#nextCall++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    promise.catch(() => undefined); // a follower that is not asked for its hash may fail
    this.#calls.get(thread)?.set(call, { resolve, reject });
    thread.post('files', { ...command, call });
    return { call, value: promise };
  }

  #attach(thread: ByteThread): void {
    const waiting = new Map<number, Waiting>();
    this.#calls.set(thread, waiting);
    const settle = (event: FilesEvent): void => {
      const waiter = waiting.get(event.call);
      waiting.delete(event.call);
      if (event.kind === 'done') waiter?.resolve(event.value);
      else waiter?.reject(fromWireError(event.error));
    };
    thread.handle('files', settle);
    thread.onLost((error) => {
      for (const { reject } of waiting.values()) reject(toError(error));
      waiting.clear();
    });
  }
}
