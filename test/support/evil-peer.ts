/**
 * A member with the right key and bad intent: it joins the cluster, says that it has the blobs of {@link EvilPeer.claim},
 * and serves the bytes that a test chooses. Its network and its peer wire are the real ones.
 */
import { multiaddr } from '@multiformats/multiaddr';
import { readFile } from 'node:fs/promises';
import { systemClock } from '../../src/util/clock.ts';
import { WeirError } from '../../src/util/errors.ts';
import { PeerWire } from '../../src/bytes/peer-wire.ts';
import type { ServedReport } from '../../src/bytes/peer-serving.ts';
import { ClusterKeys } from '../../src/network/cluster-keys.ts';
import { Network } from '../../src/network/network.ts';
import { MemberTable } from '../../src/cluster/member-table.ts';
import type { Address, Member } from '../../src/protocol/member.ts';
import { Identity } from '../../src/protocol/identity.ts';
import type { PeerId } from '../../src/protocol/peer-id.ts';
import type { SwarmKey, SwarmMessage } from '../../src/protocol/messages.ts';
import { registryBlobId } from '../../src/oci/registry-blob.ts';
import { attest } from '../../src/protocol/attestation.ts';
import { Bitfield } from '../../src/protocol/bitfield.ts';
import { ChunkLayout } from '../../src/protocol/chunk-layout.ts';
import { makeCertificate, type Certificate } from '../../src/transfer/certificate.ts';
import type { ChunkAnswer, ChunkFetch, ServedChunk } from '../../src/transfer/chunk-exchange.ts';
import { digestOf, digestHex } from '../../src/oci/digest.ts';
import { startBareNode } from './bare-node.ts';
import { workersInside } from './byte-workers.ts';

/** Milliseconds after which a connection is closed, so that what was said last is heard. */
const GOES_AFTER = 20;

export type Chunk = Extract<ServedChunk, { kind: 'chunk' }>;

/** Changes the right answer to a request for a claimed chunk. */
export type Mischief = (
  right: Chunk,
  bytes: Buffer,
  request: ChunkFetch,
) => ServedChunk | Promise<ServedChunk>;

export interface EvilPeerOptions {
  readonly keyFile: string;
  /** `127.0.0.1:PORT` of a member's control plane. */
  readonly bootstrap: string;
  readonly mischief?: Mischief;
  /** Its answer to a question about a reference; default: none. */
  readonly answers?: (question: Uint8Array) => Uint8Array;
  /** Its identity and certificate, if another server answers at `dataAddresses` instead of its port. */
  readonly node?: { readonly identity: Identity; readonly certificate: Certificate };
  readonly dataAddresses?: readonly Address[];
}

export class EvilPeer implements AsyncDisposable {
  readonly identity: Identity;
  readonly table: MemberTable;
  /** Requests to it, and how each ended. */
  readonly requests: ChunkFetch[] = [];
  readonly reports: ServedReport[] = [];
  /** Members that sent it what the protocol does not allow. */
  readonly broken: PeerId[] = [];
  /** Messages that it got; questions about references as raw bytes. */
  readonly messages: SwarmMessage[] = [];
  readonly questions: Uint8Array[] = [];
  readonly #options: EvilPeerOptions;
  readonly #stack: AsyncDisposableStack;
  readonly #claims: Map<string, Buffer> = new Map();
  readonly #joined: Map<string, Set<PeerId>> = new Map();
  #network: Network | undefined;
  #wire: PeerWire | undefined;

  private constructor(options: EvilPeerOptions, stack: AsyncDisposableStack) {
    this.#options = options;
    this.#stack = stack;
    this.identity = options.node?.identity ?? Identity.generate();
    this.table = new MemberTable({ self: this.identity.peer, clock: systemClock });
  }

  static async start(options: EvilPeerOptions): Promise<EvilPeer> {
    const peer = new EvilPeer(options, new AsyncDisposableStack());
    try {
      await peer.#start();
      return peer;
    } catch (error) {
      await peer[Symbol.asyncDispose]();
      throw error;
    }
  }

  get peer(): PeerId {
    return this.identity.peer;
  }

  /** Says to all members that it has this blob whole. */
  claim(swarm: SwarmKey, bytes: Buffer): void {
    this.#claims.set(registryBlobId(swarm), bytes);
    const message = { kind: 'announce', swarm, size: bytes.length, complete: true } as const;
    for (const { peer } of this.table.live()) if (peer !== this.peer) this.#wire?.send(peer, message);
  }

  /** Sends a message to another member. */
  say(to: PeerId, message: SwarmMessage): void {
    this.#wire?.send(to, message);
  }

  /** Asks another member for a chunk. */
  ask(member: Member, request: ChunkFetch): Promise<ChunkAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<ChunkAnswer>();
    const ignore = (): void => undefined;
    const events = {
      connecting: ignore,
      sent: ignore,
      acknowledged: ignore,
      progressed: ignore,
      answered: resolve,
      failed: reject,
    };
    this.#wire?.fetch(member, request, events);
    return promise;
  }

  /** Asks another member for the digest of a reference, in raw bytes. */
  inquire(peer: PeerId, question: Uint8Array): Promise<Uint8Array> {
    if (this.#wire === undefined) throw new Error('it has not started');
    return this.#wire.ask(peer, question, { timeout: 10_000 });
  }

  /** Writes these bytes on a stream of the protocol, over a connection of its own. @param address multiaddr */
  async shout(address: string, protocol: string, bytes: Uint8Array): Promise<void> {
    const node = await startBareNode(this.identity, await this.#clusterKey());
    this.#stack.defer(() => node.stop());
    const connection = await node.dial(multiaddr(address), { signal: AbortSignal.timeout(10_000) });
    const stream = await connection.newStream(protocol);
    stream.send(bytes);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }

  async #start(): Promise<void> {
    const { bootstrap, node, dataAddresses } = this.#options;
    const clock = systemClock;
    const certificate = node?.certificate ?? makeCertificate(this.peer, clock);
    const pair = { cert: certificate.certPem, key: certificate.keyPem };
    const wire = this.#stack.use(
      await PeerWire.open({
        workers: this.#stack.use(workersInside()),
        listen: [{ host: '127.0.0.1', port: 0 }],
        self: this.peer,
        tls: pair,
        members: this.table,
        source: { serve: (from, request) => this.#serve(from, request) },
        clock,
        observer: { refused: () => undefined, served: (report) => this.reports.push(report) },
        introduce: async (peer) => this.#network?.ensureKnown(peer),
        onMessage: (from, message) => this.#message(from, message),
        onQuestion: async (_from, question) => {
          this.questions.push(question);
          const { answers } = this.#options;
          if (answers === undefined) throw new Error('it does not answer');
          return answers(question);
        },
        onReached: () => undefined,
        onUnreachable: () => undefined,
        onBroken: (peer) => this.broken.push(peer),
        onGone: () => undefined,
        onWarning: () => undefined,
      }),
    );
    this.#wire = wire;
    this.#network = this.#stack.use(
      await Network.start({
        identity: this.identity,
        clusterKeys: new ClusterKeys([await this.#clusterKey()]),
        listen: [{ host: '127.0.0.1', port: 0 }],
        announce: [],
        bootstrap: [bootstrap],
        mdns: false,
        table: this.table,
        selfInfo: {
          name: 'evil',
          zone: '',
          version: 'evil',
          dataAddresses: dataAddresses ?? wire.addresses,
          fingerprint: certificate.fingerprint,
        },
        clock,
        logger: { debug: () => undefined, warn: () => undefined },
        onUnreachable: () => undefined,
        onHangUp: () => undefined,
      }),
    );
  }

  async #clusterKey(): Promise<Uint8Array> {
    return new Uint8Array(Buffer.from((await readFile(this.#options.keyFile, 'latin1')).trim(), 'latin1'));
  }

  #message(from: PeerId, message: SwarmMessage): void {
    this.messages.push(message);
    const { kind, swarm } = message;
    const bytes = this.#claims.get(registryBlobId(swarm));
    if (kind === 'announce') this.#answerJoin(from, message);
    if (bytes === undefined) return;
    const size = bytes.length;
    if (kind === 'handshake' && message.asks) {
      this.#wire?.send(from, { kind: 'handshake', swarm, size, have: allOf(size), asks: false });
    }
  }

  /** As tracker it names itself before all others. */
  #answerJoin(from: PeerId, { swarm }: SwarmMessage): void {
    const id = registryBlobId(swarm);
    const joined = this.#joined.get(id) ?? new Set();
    this.#joined.set(id, joined.add(from));
    const others = [...joined].filter((peer) => peer !== from).map((peer) => ({ peer, complete: false }));
    const own = this.#claims.has(id) ? [{ peer: this.peer, complete: true }] : [];
    this.#wire?.send(from, { kind: 'peers', swarm, peers: [...own, ...others] });
  }

  async #serve(from: PeerId, request: ChunkFetch): Promise<ServedChunk> {
    if (this.#options.dataAddresses !== undefined) {
      // The other server is to be asked, and there is none but this connection, over which blobs were claimed.
      setTimeout(() => this.#wire?.drop(from, new WeirError('peer_cut', 'it goes')), GOES_AFTER);
      return { kind: 'busy', load: 1 };
    }
    this.requests.push(request);
    const { swarm, range, owner } = request;
    const bytes = this.#claims.get(registryBlobId(swarm));
    if (bytes === undefined) return owner === undefined ? { kind: 'absent' } : { kind: 'unable' };
    if (range === undefined) return { kind: 'absent' };
    const { mischief = (right) => right } = this.#options;
    return mischief(this.chunkOf(swarm, bytes, range), bytes, request);
  }

  /** A chunk of `bytes`, with its hash signed by this peer; not `verified`: as one that the registry gave it. */
  chunkOf(
    swarm: SwarmKey,
    bytes: Buffer,
    { start, end }: { readonly start: number; readonly end: number },
    verified = true,
  ): Chunk {
    const hash = Buffer.from(digestHex(digestOf(bytes.subarray(start, end))), 'hex');
    const index = new ChunkLayout(bytes.length).indexOf(start);
    return {
      kind: 'chunk',
      size: bytes.length,
      start,
      end,
      attestation: attest(this.identity, swarm, bytes.length, {
        index,
        hash: new Uint8Array(hash),
        verified,
      }),
      body: bytes,
      close: () => undefined,
    };
  }
}

function allOf(size: number): Uint8Array {
  const bits = new Bitfield(new ChunkLayout(size).count);
  for (let index = 0; index < bits.length; index++) bits.set(index);
  return bits.bytes;
}
