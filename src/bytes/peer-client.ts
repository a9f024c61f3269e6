/**
 * The asking side of the data plane, as the main thread sees it: byte workers own the connections and receive the chunks
 * (peers-part.ts).
 *
 * All connections to one member are in one worker, so that requests that follow each other use them again. A member is
 * assigned to the worker that has the fewest requests under way when the member is first asked, and stays there until
 * its last connection has closed.
 */
import { assertNever, toWeirError, WeirError } from '../util/errors.ts';
import { TokenBucket } from '../util/token-bucket.ts';
import type { Member } from '../protocol/member.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ChunkAnswer, ChunkClient, ChunkFetch, ChunkFetchEvents } from '../transfer/chunk-exchange.ts';
import type { ReceivedAnswer } from '../transfer/chunk-receiver.ts';
import type { KeyPair } from '../transfer/data-port.ts';
import type { ByteThread, ByteWorkers } from './byte-workers.ts';
import type { PeersEvent, SharedLimit } from './peers-messages.ts';
import { fromWireError } from './wire-error.ts';

export interface PeerClientOptions {
  readonly workers: ByteWorkers;
  /** This node's peer ID, which a header names if there is no certificate. */
  readonly self: PeerId;
  /** This node's certificate; undefined: plain TCP. */
  readonly tls: KeyPair | undefined;
  /** Bytes per second, over all members. */
  readonly maxDownload: number | undefined;
  /** Sends this node's record to a member that cut a connection off at once, as members do with strangers. */
  readonly introduce?: ((peer: PeerId) => Promise<void>) | undefined;
}

type Event<Kind extends PeersEvent['kind']> = Extract<PeersEvent, { kind: Kind }>;

/** The worker that has the connections to a member. */
interface Assignment {
  readonly thread: ByteThread;
  /** Requests under way. */
  requests: number;
}

interface Request {
  readonly assignment: Assignment;
  readonly events: ChunkFetchEvents;
}

export class PeerClient implements ChunkClient, AsyncDisposable {
  readonly #options: PeerClientOptions;
  readonly #download: SharedLimit | undefined;
  readonly #assignments = new Map<PeerId, Assignment>();
  readonly #requests = new Map<number, Request>();
  #nextCall = 0;
  #closed = false;

  constructor(options: PeerClientOptions) {
    const { maxDownload, workers } = options;
    this.#options = options;
    this.#download =
      maxDownload === undefined ? undefined : { rate: maxDownload, memory: TokenBucket.memory() };
    workers.onStart((thread) => this.#attach(thread));
  }

  fetch(member: Member, request: ChunkFetch, events: ChunkFetchEvents): () => void {
    const problem = this.#obstacle(member);
    if (problem !== undefined) return failSoon(events, problem);
    const { peer, dataAddresses, fingerprint } = member;
    const assignment = this.#assign(peer);
    const call = this.#nextCall++;
    assignment.requests++;
    this.#requests.set(call, { assignment, events });
    // A copy: a fingerprint that was decoded is a part of its message, and all of that would be cloned.
    const target = { peer, dataAddresses, fingerprint: new Uint8Array(fingerprint) };
    assignment.thread.post('peers', { kind: 'fetch', call, member: target, request });
    return () => {
      if (this.#end(call) !== undefined) assignment.thread.post('peers', { kind: 'cancel', call });
    };
  }

  /** Ends all requests at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const thread of this.#options.workers.threads) thread.post('peers', { kind: 'stop' });
    this.#fail([...this.#requests.keys()], closed());
  }

  /** The reason why this node cannot ask the member. */
  #obstacle({ peer, fingerprint, dataAddresses }: Member): WeirError | undefined {
    if (this.#closed) return closed();
    const { tls } = this.#options;
    const isSecure = fingerprint.length > 0;
    const because = (problem: string): WeirError => new WeirError('peer_unreachable', `${peer}: ${problem}`);
    if (isSecure && tls === undefined) return because('it serves with TLS alone, and TLS is off here');
    if (!isSecure && tls !== undefined) return because('it serves without TLS, which is on here');
    return dataAddresses.length === 0 ? because('it names no data address') : undefined;
  }

  #assign(peer: PeerId): Assignment {
    const known = this.#assignments.get(peer);
    if (known !== undefined) return known;
    const load = new Map<ByteThread, number>();
    for (const { assignment } of this.#requests.values()) {
      load.set(assignment.thread, (load.get(assignment.thread) ?? 0) + 1);
    }
    // Each in turn if none has fewer requests: members that are asked one after the other are spread too.
    let thread = this.#options.workers.next();
    for (const other of this.#options.workers.threads) {
      if ((load.get(other) ?? 0) < (load.get(thread) ?? 0)) thread = other;
    }
    const assignment = { thread, requests: 0 };
    this.#assignments.set(peer, assignment);
    return assignment;
  }

  /** Takes the request out. @returns undefined if it has ended already */
  #end(call: number): ChunkFetchEvents | undefined {
    const request = this.#requests.get(call);
    if (request === undefined) return undefined;
    this.#requests.delete(call);
    request.assignment.requests--;
    return request.events;
  }

  #attach(thread: ByteThread): void {
    if (this.#closed) return;
    const { self, tls } = this.#options;
    thread.handle('peers', (event) => this.#receive(thread, event));
    thread.onLost((error) => this.#lost(thread, error));
    thread.post('peers', { kind: 'start', self, tls, download: this.#download });
  }

  #receive(thread: ByteThread, event: PeersEvent): void {
    switch (event.kind) {
      case 'connecting':
      case 'sent':
      case 'acknowledged':
        this.#requests.get(event.call)?.events[event.kind]();
        return;
      case 'progressed':
        return this.#progressed(event);
      case 'answered':
        return this.#answered(event, toAnswer(thread, event.answer));
      case 'failed':
        this.#progressed(event);
        this.#end(event.call)?.failed(toWeirError(fromWireError(event.error)));
        return;
      case 'introduce':
        void this.#introduce(thread, event);
        return;
      case 'idle':
        return this.#idle(thread, event.peer);
      default:
        assertNever(event);
    }
  }

  #progressed({ call, bytes }: { readonly call: number; readonly bytes: number }): void {
    if (bytes > 0) this.#requests.get(call)?.events.progressed(bytes);
  }

  #answered(event: Event<'answered'>, answer: ChunkAnswer): void {
    this.#progressed(event);
    const events = this.#end(event.call);
    if (events !== undefined) events.answered(answer);
    else if (answer.kind === 'chunk') answer.release?.(); // it was cancelled as its answer was on its way
  }

  /** Never rejects: if it fails, the member may know this node all the same. */
  async #introduce(thread: ByteThread, { call, peer }: Event<'introduce'>): Promise<void> {
    try {
      await this.#options.introduce?.(peer);
    } catch {
      // The member will cut this node off, and that is reported.
    }
    thread.post('peers', { kind: 'introduced', call });
  }

  #idle(thread: ByteThread, peer: PeerId): void {
    const assignment = this.#assignments.get(peer);
    // A request may be on its way to the worker.
    if (assignment?.thread === thread && assignment.requests === 0) this.#assignments.delete(peer);
  }

  #lost(thread: ByteThread, cause: WeirError): void {
    for (const [peer, assignment] of this.#assignments) {
      if (assignment.thread === thread) this.#assignments.delete(peer); // first: callers ask again at once
    }
    const calls = [...this.#requests].filter(([, { assignment }]) => assignment.thread === thread);
    this.#fail(
      calls.map(([call]) => call),
      cause, // no peer is to blame
    );
  }

  #fail(calls: readonly number[], error: WeirError): void {
    for (const call of calls) this.#end(call)?.failed(error);
  }
}

function closed(): WeirError {
  return new WeirError('aborted', 'the data client is closed');
}

/** @returns cancels it */
function failSoon(events: ChunkFetchEvents, error: WeirError): () => void {
  let isCancelled = false;
  queueMicrotask(() => {
    if (!isCancelled) events.failed(error);
  });
  return () => void (isCancelled = true);
}

function toAnswer(thread: ByteThread, answer: ReceivedAnswer): ChunkAnswer {
  if (answer.kind !== 'chunk') return answer;
  const { bytes } = answer;
  if (bytes instanceof Uint8Array) return { ...answer, bytes };
  return {
    ...answer,
    bytes: { ...bytes, worker: thread.id },
    release: () => thread.post('files', { kind: 'give', place: bytes.place }),
  };
}
