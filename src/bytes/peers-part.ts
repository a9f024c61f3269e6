/**
 * Asks other members for chunks, in a byte worker: it owns the connections (transfer/https-client.ts). A chunk is
 * received into a place of this worker, hashed there, and stays until it is written or given back.
 */
import type { Transferable } from 'node:worker_threads';
import { MILLISECOND, systemClock } from '../util/clock.ts';
import { assertNever, WeirError } from '../util/errors.ts';
import { TokenBucket } from '../util/token-bucket.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ReceivedAnswer, ReceiverEvents } from '../transfer/chunk-receiver.ts';
import { DataClient } from '../transfer/https-client.ts';
import type { Part, Post } from './byte-worker.ts';
import type { ChunkPlaces } from './chunk-places.ts';
import type { PeersCommand } from './peers-messages.ts';
import { toWireError } from './wire-error.ts';

/** Between two reports of one request's bytes: a message for each read would cost more than the read. */
const REPORT_INTERVAL = 50 * MILLISECOND;

type Command<Kind extends PeersCommand['kind']> = Extract<PeersCommand, { kind: Kind }>;

export class PeersPart implements Part<'peers'> {
  readonly #post: Post<'peers'>;
  readonly #places: ChunkPlaces;
  /** Cancel the requests under way. */
  readonly #requests = new Map<number, () => void>();
  readonly #introductions = new Map<number, () => void>();
  #nextIntroduction = 0;
  #client: DataClient | undefined;

  constructor(post: Post<'peers'>, places: ChunkPlaces) {
    this.#post = post;
    this.#places = places;
  }

  receive(command: PeersCommand): void {
    switch (command.kind) {
      case 'start':
        this.#client = this.#makeClient(command);
        return;
      case 'fetch':
        return this.#fetch(command);
      case 'cancel':
        this.#requests.get(command.call)?.();
        this.#requests.delete(command.call);
        return;
      case 'introduced':
        this.#introductions.get(command.call)?.();
        this.#introductions.delete(command.call);
        return;
      case 'stop':
        void this[Symbol.asyncDispose]();
        return;
      default:
        assertNever(command);
    }
  }

  #makeClient({ self, tls, download }: Command<'start'>): DataClient {
    return new DataClient({
      self,
      tls,
      limit: download && new TokenBucket(download.rate, systemClock, download.memory),
      introduce: (peer) => this.#introduce(peer),
      memory: this.#places,
      onIdle: (peer) => this.#post({ kind: 'idle', peer }),
      clock: systemClock,
    });
  }

  #fetch({ call, member, request }: Command<'fetch'>): void {
    const client = this.#client;
    if (client === undefined) {
      const error = toWireError(new WeirError('aborted', 'the data client is closed'));
      this.#post({ kind: 'failed', call, bytes: 0, error });
      return;
    }
    this.#requests.set(call, client.fetch(member, request, this.#eventsOf(call)));
  }

  /** No end of a request comes before `fetch` has returned. */
  #eventsOf(call: number): ReceiverEvents {
    let bytes = 0;
    let reportedAt = Number.NEGATIVE_INFINITY;
    return {
      connecting: () => this.#post({ kind: 'connecting', call }),
      sent: () => this.#post({ kind: 'sent', call }),
      acknowledged: () => this.#post({ kind: 'acknowledged', call }),
      progressed: (more) => {
        bytes += more;
        const now = systemClock.monotonic();
        if (now - reportedAt < REPORT_INTERVAL) return;
        this.#post({ kind: 'progressed', call, bytes });
        reportedAt = now;
        bytes = 0;
      },
      answered: (answer) => {
        this.#requests.delete(call);
        this.#post({ kind: 'answered', call, bytes, answer }, documentIn(answer));
      },
      failed: (error) => {
        this.#requests.delete(call);
        this.#post({ kind: 'failed', call, bytes, error: toWireError(error) });
      },
    };
  }

  #introduce(peer: PeerId): Promise<void> {
    const call = this.#nextIntroduction++;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#introductions.set(call, resolve);
    this.#post({ kind: 'introduce', call, peer });
    return promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    for (const resolve of this.#introductions.values()) resolve(); // none will be answered
    this.#introductions.clear();
    await client?.[Symbol.asyncDispose]();
  }
}

/** The memory of a whole blob leaves this thread. */
function documentIn(answer: ReceivedAnswer): readonly Transferable[] {
  return answer.kind === 'chunk' && answer.bytes instanceof Uint8Array ? [answer.bytes.buffer] : [];
}
