/** The asking side of the data plane with a byte worker of its own, in the thread of the test. */
import type { Member } from '../../src/protocol/member.ts';
import { Files } from '../../src/bytes/files.ts';
import { PeerClient, type PeerClientOptions } from '../../src/bytes/peer-client.ts';
import type { ChunkClient, ChunkFetch, ChunkFetchEvents } from '../../src/transfer/chunk-exchange.ts';
import { isHeld, type ChunkBytes } from '../../src/util/content.ts';
import { workersInside } from './byte-workers.ts';

export type TestClientOptions = Omit<PeerClientOptions, 'workers'>;

export class TestClient implements ChunkClient, AsyncDisposable {
  readonly #workers = workersInside();
  readonly #files = new Files(this.#workers);
  readonly #client: PeerClient;

  constructor(options: TestClientOptions) {
    this.#client = new PeerClient({ ...options, workers: this.#workers });
  }

  fetch(member: Member, request: ChunkFetch, events: ChunkFetchEvents): () => void {
    return this.#client.fetch(member, request, events);
  }

  /** The bytes of an answer; the memory of a chunk is given back. */
  async read(bytes: ChunkBytes): Promise<Uint8Array> {
    return isHeld(bytes) ? this.#files.take(bytes) : bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
    await this.#workers[Symbol.asyncDispose]();
  }
}
