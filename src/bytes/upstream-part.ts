/**
 * Reads from registries in a byte worker: sends the requests that the main thread makes, and puts their bodies where it says.
 * Addresses are checked here, where names are resolved and connections are made.
 */
import { systemClock } from '../util/clock.ts';
import { assertNever, WeirError } from '../util/errors.ts';
import { TokenBucket } from '../util/token-bucket.ts';
import { Pools } from '../upstream/pools.ts';
import type { Response } from '../upstream/response.ts';
import { PoolTransport } from '../upstream/transport.ts';
import { TrustStore } from '../upstream/trust.ts';
import type { BlobSettings } from '../upstream/blob-transport.ts';
import { BodyPass } from './body-pass.ts';
import type { Part, Post } from './byte-worker.ts';
import { ChunkCollector } from './chunk-collector.ts';
import type { ChunkPlaces } from './chunk-places.ts';
import { FilePour } from './file-pour.ts';
import { closePass, openPass, passOf } from './pass.ts';
import type {
  BodyCommand,
  LeftChunk,
  PouredChunk,
  ReadCommand,
  UpstreamCommand,
} from './upstream-messages.ts';
import { fromWireError, toWireError } from './wire-error.ts';

/** Generations of settings whose connections are kept for calls that began with them. */
const MAX_GENERATIONS = 4;

/** Where a body went. */
export interface BodyEnd {
  readonly position: number;
  readonly chunks: readonly PouredChunk[];
  readonly left: LeftChunk | undefined;
}

/** A body that is being read. */
export interface BodyReading {
  receive(command: BodyCommand): void;
  /** Settles when the body is read, or broke off; nothing is written afterwards. */
  run(): Promise<void>;
  /** To be asked for once, afterwards. */
  readonly end: BodyEnd;
}

/** What a body is read with. */
export interface ReadingParts {
  readonly post: Post<'upstream'>;
  readonly places: ChunkPlaces;
  readonly response: Response;
}

interface Call {
  readonly stop: AbortController;
  response?: Response;
  body?: BodyReading;
}

export class UpstreamPart implements Part<'upstream'> {
  readonly #post: Post<'upstream'>;
  readonly #places: ChunkPlaces;
  readonly #calls = new Map<number, Call>();
  /** Of the last generations, the newest last. */
  readonly #pools = new Map<number, Pools>();
  #newest: Pools | undefined;
  #limit: TokenBucket | undefined;

  constructor(post: Post<'upstream'>, places: ChunkPlaces) {
    this.#post = post;
    this.#places = places;
  }

  receive(command: UpstreamCommand): void {
    switch (command.kind) {
      case 'configure':
        this.#limit ??= new TokenBucket(command.limit, systemClock);
        return this.#configure(command.settings);
      case 'send':
        void this.#send(command);
        return;
      case 'discard':
        return this.#discard(command.call);
      case 'abort':
        return this.#abort(command.call, fromWireError(command.error));
      case 'pour':
      case 'collect':
      case 'pass':
        void this.#read(command);
        return;
      case 'credit':
      case 'refuse':
      case 'begin':
        return this.#calls.get(command.call)?.body?.receive(command);
      case 'openPass':
        return openPass(command.pass, command.options);
      case 'skip':
        return passOf(command.pass).skip(command.to);
      case 'finish':
        void passOf(command.pass).finish();
        return;
      case 'closePass':
        return closePass(command.pass);
      case 'close':
        void this.#close();
        return;
      default:
        assertNever(command);
    }
  }

  #configure({ generation, connections, trusted, ...settings }: BlobSettings): void {
    const lanes = { control: connections, blob: connections };
    this.#newest?.retire();
    this.#newest = new Pools({ ...settings, connections: lanes, trust: new TrustStore(trusted) });
    this.#pools.set(generation, this.#newest);
    const [oldest] = this.#pools.keys();
    if (oldest !== undefined && this.#pools.size > MAX_GENERATIONS) this.#pools.delete(oldest);
  }

  /** Never rejects. */
  async #send({ call, request }: Extract<UpstreamCommand, { kind: 'send' }>): Promise<void> {
    const stop = new AbortController();
    const known: Call = { stop };
    this.#calls.set(call, known);
    try {
      // Of a call that has outlived many changes, the newest: another worker may have taken this one's place, too.
      const pools = this.#pools.get(request.generation ?? -1) ?? this.#newest;
      if (pools === undefined) throw new WeirError('internal', 'the byte worker is not configured');
      const own = { signal: stop.signal, limit: this.#limit };
      const response = await new PoolTransport(pools, 'blob').send({ ...request, ...own });
      known.response = response;
      const { status, headers } = response;
      this.#post({ kind: 'head', call, status, headers });
    } catch (error) {
      this.#calls.delete(call);
      this.#post({ kind: 'failed', call, error: toWireError(error) });
    }
  }

  #discard(call: number): void {
    this.#calls.get(call)?.response?.discard();
    this.#calls.delete(call);
  }

  #abort(call: number, error: Error): void {
    const known = this.#calls.get(call);
    known?.stop.abort(error);
    if (known?.body === undefined) this.#calls.delete(call);
  }

  /** Never rejects. */
  async #read(command: ReadCommand): Promise<void> {
    const { call } = command;
    let body: BodyReading | undefined;
    let error: unknown;
    try {
      body = this.#begin(command);
      await body.run();
    } catch (thrown) {
      error = thrown;
      this.#calls.get(call)?.response?.abort(new WeirError('aborted', 'the body cannot be read'));
    }
    this.#calls.delete(call);
    if (body === undefined && command.kind === 'collect' && command.place !== undefined) {
      this.#places.give(command.place);
    }
    const end = body?.end ?? { position: command.part.start, chunks: [], left: undefined };
    this.#post({ kind: 'ended', call, ...end, error: error === undefined ? undefined : toWireError(error) });
  }

  /** @throws WeirError `internal` */
  #begin(command: ReadCommand): BodyReading {
    const known = this.#calls.get(command.call);
    if (known?.response === undefined) throw new WeirError('internal', 'there is no such response');
    const parts = { post: this.#post, places: this.#places, response: known.response };
    const body =
      command.kind === 'pour'
        ? new FilePour(command, parts)
        : command.kind === 'collect'
          ? new ChunkCollector(command, parts)
          : new BodyPass(command, parts);
    known.body = body;
    return body;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pools) => pools.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}
