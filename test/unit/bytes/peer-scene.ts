/** Members that talk over the peer wire on loopback. */
import assert from 'node:assert/strict';
import { systemClock, type Clock } from '../../../src/util/clock.ts';
import { isHeld, type ChunkBytes } from '../../../src/util/content.ts';
import { isWeirError, type ErrorCode, type WeirError } from '../../../src/util/errors.ts';
import type { SuspicionReason } from '../../../src/cluster/membership.ts';
import type { Address, Member } from '../../../src/protocol/member.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { parseRegistryHost } from '../../../src/oci/repository.ts';
import type { Identity } from '../../../src/protocol/identity.ts';
import type { SwarmMessage } from '../../../src/protocol/messages.ts';
import type { PeerId } from '../../../src/protocol/peer-id.ts';
import { attest } from '../../../src/protocol/attestation.ts';
import type { ByteWorkers } from '../../../src/bytes/byte-workers.ts';
import { Files } from '../../../src/bytes/files.ts';
import type { ServedReport } from '../../../src/bytes/peer-serving.ts';
import { PeerWire } from '../../../src/bytes/peer-wire.ts';
import type { PeerWireOptions } from '../../../src/bytes/peer-wire-options.ts';
import type { Refusal } from '../../../src/transfer/admission.ts';
import type {
  ChunkAnswer,
  ChunkFetch,
  ChunkSource,
  ServedChunk,
} from '../../../src/transfer/chunk-exchange.ts';
import { workersInside } from '../../support/byte-workers.ts';
import { fileOf } from '../../support/file-content.ts';
import { LOOPBACK, makeNode, memberOf, type Node } from '../../support/raw-peer.ts';

export const REGISTRY = parseRegistryHost('registry.example:5000');

/** Members that are known, and those that are banned. */
export class Members {
  readonly known: Map<PeerId, Member> = new Map();
  readonly banned: Set<PeerId> = new Set();
  readonly #listeners = new Set<() => void>();

  add(member: Member): void {
    this.known.set(member.peer, member);
    this.#changed();
  }

  remove(peer: PeerId): void {
    this.known.delete(peer);
    this.#changed();
  }

  get(peer: PeerId): Member | undefined {
    return this.known.get(peer);
  }

  names(host: string): boolean {
    return [...this.known.values()].some(({ controlAddresses }) =>
      controlAddresses.some((each) => each.includes(`/${host}/`)),
    );
  }

  ban(peer: PeerId, _reason?: SuspicionReason): void {
    this.banned.add(peer);
    this.#changed();
  }

  isBanned(peer: PeerId): boolean {
    return this.banned.has(peer);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

type Serve = ChunkSource['serve'];

export interface WireNodeOptions extends Partial<
  Pick<PeerWireOptions, 'rates' | 'isOtherZone' | 'readerTimeout' | 'onMessage' | 'onQuestion' | 'onOrder'>
> {
  readonly node?: Node;
  readonly isSecure?: boolean;
  /** Default: one in the thread of the test. They end with the node. */
  readonly workers?: ByteWorkers;
  readonly serve?: Serve;
  /** Sends this node's record to the member. */
  readonly introduce?: (peer: PeerId, self: WireNode) => Promise<void>;
  readonly clock?: Clock;
}

/** A member with its real peer wire, and all that this told. */
export class WireNode implements AsyncDisposable {
  readonly node: Node;
  readonly isSecure: boolean;
  readonly workers: ByteWorkers;
  readonly files: Files;
  readonly members: Members = new Members();
  readonly refusals: Refusal[] = [];
  readonly reports: ServedReport[] = [];
  readonly messages: SwarmMessage[] = [];
  readonly senders: PeerId[] = [];
  readonly reached: PeerId[] = [];
  readonly unreachable: WeirError[] = [];
  readonly broken: (readonly [peer: PeerId, message: string])[] = [];
  readonly gone: PeerId[] = [];
  readonly introduced: PeerId[] = [];
  #wire: PeerWire | undefined;

  private constructor(node: Node, isSecure: boolean, workers: ByteWorkers) {
    this.node = node;
    this.isSecure = isSecure;
    this.workers = workers;
    this.files = new Files(workers);
  }

  static async start(options: WireNodeOptions = {}): Promise<WireNode> {
    const { node = makeNode(), isSecure = true, workers = workersInside() } = options;
    const self = new WireNode(node, isSecure, workers);
    await self.#open(options);
    return self;
  }

  async #open({
    serve,
    introduce,
    clock,
    onMessage,
    onQuestion,
    ...options
  }: WireNodeOptions): Promise<void> {
    const { node, isSecure, workers, members } = this;
    this.#wire = await PeerWire.open({
      workers,
      listen: [{ host: LOOPBACK, port: 0 }],
      self: node.peer,
      tls: isSecure ? node.tls : undefined,
      members,
      source: { serve: serve ?? serveBlob(makeBytes(), node.identity) },
      rates: options.rates,
      isOtherZone: options.isOtherZone,
      readerTimeout: options.readerTimeout,
      clock: clock ?? systemClock,
      observer: {
        refused: (reason) => void this.refusals.push(reason),
        served: (report) => void this.reports.push(report),
      },
      introduce: async (peer) => {
        this.introduced.push(peer);
        await introduce?.(peer, this);
      },
      onMessage: (peer, message) => {
        this.senders.push(peer);
        this.messages.push(message);
        onMessage?.(peer, message);
      },
      onQuestion: onQuestion ?? (async () => new Uint8Array()),
      onOrder: options.onOrder,
      onReached: (peer) => void this.reached.push(peer),
      onUnreachable: (_peer, error) => void this.unreachable.push(error),
      onBroken: (peer, { message }) => void this.broken.push([peer, message]),
      onGone: (peer) => void this.gone.push(peer),
      onWarning: () => undefined,
    });
  }

  get wire(): PeerWire {
    return this.#wire ?? assert.fail('it has not started');
  }

  get peer(): PeerId {
    return this.node.peer;
  }

  /** Its record. */
  get member(): Member {
    return memberOf(this.node, this.wire.addresses, { isSecure: this.isSecure });
  }

  get address(): Address {
    return this.wire.addresses[0] ?? assert.fail('it does not listen');
  }

  /** It has their records. */
  knows(...others: readonly Pick<WireNode, 'member'>[]): void {
    for (const { member } of others) this.members.add(member);
  }

  /** The bytes of an answer; the memory of a chunk is given back. */
  async read(bytes: ChunkBytes): Promise<Uint8Array> {
    return isHeld(bytes) ? this.files.take(bytes) : bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#wire?.[Symbol.asyncDispose]();
    await this.workers[Symbol.asyncDispose]();
  }
}

export interface SceneOptions extends Omit<WireNodeOptions, 'introduce'> {
  /** Of the node that asks. */
  readonly asker?: WireNodeOptions;
}

/** A node that serves and a node that asks, which know each other. */
export class Scene implements AsyncDisposable {
  readonly serving: WireNode;
  readonly asking: WireNode;

  private constructor(serving: WireNode, asking: WireNode) {
    this.serving = serving;
    this.asking = asking;
  }

  static async start({ asker, ...options }: SceneOptions = {}): Promise<Scene> {
    const { isSecure = true } = options;
    const scene = new Scene(await WireNode.start(options), await WireNode.start({ isSecure, ...asker }));
    scene.serving.knows(scene.asking);
    scene.asking.knows(scene.serving);
    return scene;
  }

  /** Where the serving node listens. */
  get address(): Address {
    return this.serving.address;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.asking[Symbol.asyncDispose]();
    await this.serving[Symbol.asyncDispose]();
  }
}

const BLOB_BYTES = 3_000_000;

/** Bytes that differ everywhere, so that a wrong offset shows. */
export function makeBytes(length = BLOB_BYTES): Buffer {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i, 2_654_435_761);
  return Buffer.from(words.buffer).subarray(0, length);
}

const ANY_DIGEST: Digest = digestOf(Buffer.from('blob'));
export const SWARM = { registry: REGISTRY, digest: ANY_DIGEST };

export function requestFor(start?: number, end?: number, more: Partial<ChunkFetch> = {}): ChunkFetch {
  const range = start === undefined || end === undefined ? undefined : { start, end };
  return { swarm: SWARM, range, owner: undefined, ...more };
}

/** A message that names its number. */
export function messageOf(index: number): SwarmMessage {
  return { swarm: SWARM, kind: 'claim', index, held: true };
}

/** Serves each range of `bytes` at once. */
export function serveBlob(bytes: Buffer, identity: Identity, closed: boolean[] = []): Serve {
  return async (_from, request) => serveChunk(bytes, request, identity, closed);
}

export function serveChunk(
  bytes: Buffer,
  { range, swarm }: ChunkFetch,
  identity: Identity,
  closed: boolean[] = [],
): Extract<ServedChunk, { kind: 'chunk' }> {
  const { start, end } = range ?? { start: 0, end: bytes.length };
  const hash = new Uint8Array(32).fill(7);
  return {
    kind: 'chunk',
    size: bytes.length,
    start,
    end,
    attestation: range && attest(identity, swarm, bytes.length, { index: 3, hash, verified: true }),
    body: range === undefined ? bytes : fileOf(bytes),
    close: (sent) => closed.push(sent),
  };
}

export interface Outcome {
  readonly answer: ChunkAnswer | undefined;
  readonly error: WeirError | undefined;
}

/** A request whose events are kept, in order; `progressed` once. */
export interface Begun {
  readonly events: string[];
  /** Number of `connecting` events. */
  readonly turns: { count: number };
  readonly bytes: { count: number };
  /** Settles when the first bytes have come. */
  readonly first: Promise<void>;
  /** Settles when it was sent. */
  readonly sent: Promise<void>;
  readonly acknowledged: Promise<void>;
  readonly ended: Promise<Outcome>;
  readonly cancel: () => void;
}

export function begin({ wire }: WireNode, to: Pick<Member, 'peer'>, request: ChunkFetch): Begun {
  const events: string[] = [];
  const [turns, bytes] = [{ count: 0 }, { count: 0 }];
  const first = Promise.withResolvers<void>();
  const sent = Promise.withResolvers<void>();
  const acknowledged = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<Outcome>();
  const cancel = wire.fetch(to, request, {
    connecting: () => void turns.count++,
    sent: () => {
      events.push('sent');
      sent.resolve();
    },
    acknowledged: () => {
      events.push('acknowledged');
      acknowledged.resolve();
    },
    progressed: (length) => {
      assert.ok(length > 0);
      bytes.count += length;
      if (!events.includes('progressed')) events.push('progressed');
      first.resolve();
    },
    answered: (answer) => {
      events.push(answer.kind);
      ended.resolve({ answer, error: undefined });
    },
    failed: (error) => {
      events.push(error.code);
      ended.resolve({ answer: undefined, error });
    },
  });
  return {
    events,
    turns,
    bytes,
    first: first.promise,
    sent: sent.promise,
    acknowledged: acknowledged.promise,
    ended: ended.promise,
    cancel,
  };
}

/** Sends a request and waits for its end. */
export function ask(from: WireNode, to: Pick<Member, 'peer'>, request: ChunkFetch): Promise<Outcome> {
  return begin(from, to, request).ended;
}

/** Sends a request that must bring a chunk. */
export async function askChunk(from: WireNode, to: Pick<Member, 'peer'>, request: ChunkFetch) {
  const { answer, error } = await ask(from, to, request);
  assert.ok(answer?.kind === 'chunk', `${answer?.kind ?? error?.message}`);
  return answer;
}

export async function askFails(
  code: ErrorCode,
  from: WireNode,
  to: Pick<Member, 'peer'>,
  request: ChunkFetch,
): Promise<WeirError> {
  const { answer, error } = await ask(from, to, request);
  assert.ok(isWeirError(error), `answered: ${answer?.kind}`);
  assert.equal(error.code, code, error.message);
  return error;
}

/** Places are numbered from 0; no test takes so many. */
const PLACES = 200;

/** Places for chunks that are taken in all workers of a node. Their memory is given back by looking. */
export async function takenPlaces({ workers, files }: WireNode): Promise<number> {
  const takes = workers.threads.flatMap(({ id }) =>
    Array.from({ length: PLACES }, (_, place) =>
      files.take({ worker: id, place, length: 0, hash: new Uint8Array() }),
    ),
  );
  const outcomes = await Promise.allSettled(takes);
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') assert.ok(isWeirError(outcome.reason, 'internal'));
  }
  return outcomes.filter(({ status }) => status === 'fulfilled').length;
}
