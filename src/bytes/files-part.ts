/**
 * Works on files in a byte worker. File calls are synchronous: on the page cache they cost less than a round trip through
 * the thread pool, and the next work of this thread needs their result anyway.
 */
import { createHash, hash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { assertNever, WeirError } from '../util/errors.ts';
import { HASH_BYTES } from '../protocol/attestation.ts';
import { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { Part, Post } from './byte-worker.ts';
import type { ChunkPlaces } from './chunk-places.ts';
import { readWhole, writeWhole } from './file-calls.ts';
import type { FilesCommand, Survey } from './files-messages.ts';
import { Follower } from './follower.ts';
import { toWireError } from './wire-error.ts';

type Command<Kind extends FilesCommand['kind']> = Extract<FilesCommand, { kind: Kind }>;

export class FilesPart implements Part<'files'> {
  readonly #post: Post<'files'>;
  readonly #places: ChunkPlaces;
  readonly #followers = new Map<number, Follower>();
  #stopped = false;

  constructor(post: Post<'files'>, places: ChunkPlaces) {
    this.#post = post;
    this.#places = places;
  }

  receive(command: FilesCommand): void {
    if (command.kind === 'give') return this.#places.give(command.place);
    if (command.kind === 'unfollow') return this.#followers.get(command.call)?.stop();
    void this.#answer(command);
  }

  /** Never rejects. */
  async #answer(command: Exclude<FilesCommand, { kind: 'give' | 'unfollow' }>): Promise<void> {
    const { call } = command;
    try {
      // Not awaited if it is done already: a write should be answered in the same turn.
      const made = this.#do(command);
      const value = made instanceof Promise ? await made : made;
      this.#post({ kind: 'done', call, value });
    } catch (error) {
      this.#post({ kind: 'failed', call, error: toWireError(error) });
    }
  }

  #do(command: Exclude<FilesCommand, { kind: 'give' | 'unfollow' }>): unknown {
    switch (command.kind) {
      case 'write': {
        this.#write(command);
        return undefined;
      }
      case 'take': {
        const bytes = this.#places.at(command.place).slice();
        this.#places.give(command.place);
        return bytes;
      }
      case 'hold': {
        const { place, bytes } = this.#places.take(command.bytes.length);
        bytes.set(command.bytes);
        return { place, hash: new Uint8Array(hash('sha256', bytes, 'buffer')) };
      }
      case 'follow':
        return this.#follow(command);
      case 'hash':
        return this.#hash(command);
      case 'check':
        return this.#check(command);
      case 'survey':
        return this.#survey(command);
      default:
        return assertNever(command);
    }
  }

  #write({ place, fd, position, follower }: Command<'write'>): void {
    const bytes = this.#places.at(place);
    try {
      writeWhole(fd, bytes, position);
      if (follower !== undefined) this.#followers.get(follower)?.offer(bytes, position);
    } finally {
      this.#places.give(place);
    }
  }

  async #follow(command: Command<'follow'>): Promise<string> {
    const follower = new Follower(command);
    this.#followers.set(command.call, follower);
    try {
      return await follower.run();
    } finally {
      this.#followers.delete(command.call);
    }
  }

  #hash({ fd, start, end }: Command<'hash'>): Uint8Array {
    const { place, bytes } = this.#places.take(end - start);
    try {
      if (readWhole(fd, bytes, start)) return new Uint8Array(hash('sha256', bytes, 'buffer'));
      throw new WeirError('store_corrupt', 'the file is shorter than it should be');
    } finally {
      this.#places.give(place);
    }
  }

  async #check({ fd, size, hashes, chunks }: Command<'check'>): Promise<number[]> {
    const layout = new ChunkLayout(size);
    const buffer = Buffer.allocUnsafe(layout.chunkSize);
    const good: number[] = [];
    for (const index of chunks) {
      await this.#turn();
      const bytes = buffer.subarray(0, layout.length(index));
      const expected = hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);
      const isWhole = readWhole(fd, bytes, layout.start(index));
      if (isWhole && hash('sha256', bytes, 'buffer').equals(expected)) good.push(index);
    }
    return good;
  }

  async #survey({ fd, size, algorithm }: Command<'survey'>): Promise<Survey> {
    const layout = new ChunkLayout(size);
    const buffer = Buffer.allocUnsafe(layout.chunkSize);
    const whole = createHash(algorithm);
    const chunks = new Uint8Array(layout.count * HASH_BYTES);
    for (let index = 0; index < layout.count; index++) {
      await this.#turn();
      const bytes = buffer.subarray(0, layout.length(index));
      if (!readWhole(fd, bytes, layout.start(index))) {
        throw new WeirError('store_corrupt', 'the file is shorter than it should be');
      }
      whole.update(bytes);
      chunks.set(hash('sha256', bytes, 'buffer'), index * HASH_BYTES);
    }
    return { whole: whole.digest('hex'), chunks };
  }

  /** Lets the sockets of this thread have their turn. @throws WeirError `aborted` if the worker is being stopped */
  async #turn(): Promise<void> {
    await turn();
    if (this.#stopped) throw new WeirError('aborted', 'the byte worker is being stopped');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    for (const follower of this.#followers.values()) follower.stop();
  }
}
