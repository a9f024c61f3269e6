/**
 * The asking side of the data plane: HTTP/1.1 over TLS, or over plain TCP if the cluster's network is trusted. It runs
 * in a byte worker (bytes/peers-part.ts).
 *
 * It owns the connections to each member (member-connections.ts), which own the sockets. chunk-receiver.ts reads an
 * answer straight from the socket's buffer into the memory of the chunk. The general HTTP clients (undici,
 * node:http) take more than twice as much CPU for that; bench/transfer measures it.
 */
import { LRUCache } from 'lru-cache';
import { createSecureContext, type SecureContext } from 'node:tls';
import PQueue from 'p-queue';
import { SECOND, type Clock } from '../util/clock.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { KeyPair } from './data-port.ts';
import type { ChunkFetch } from './chunk-exchange.ts';
import {
  DIALS_AT_ONCE,
  MemberConnections,
  type ConnectionContext,
  type DialTarget,
} from './member-connections.ts';
import { ChunkReceiver, type ChunkMemory, type ReceiverEvents } from './chunk-receiver.ts';
import { formatRequest } from './chunk-requests.ts';
import type { TokenBucket } from '../util/token-bucket.ts';
import { CIPHERS, HEADER } from './wire-format.ts';

/** Members to which connections are kept; a swarm has at most 32 peers. */
const MAX_MEMBERS = 512;
/** Milliseconds that a request waits for an introduction. */
const INTRODUCTION_TIMEOUT = 3 * SECOND;

export interface DataClientOptions {
  /** This node's peer ID, which a header names if there is no certificate. */
  readonly self: PeerId;
  /** This node's certificate; undefined: plain TCP. */
  readonly tls: KeyPair | undefined;
  /** Of the bytes that come, over all members. */
  readonly limit: TokenBucket | undefined;
  /** Sends this node's record to a member that cut a connection off at once, as members do with strangers. */
  readonly introduce: (peer: PeerId) => Promise<void>;
  /** Receives the chunks. */
  readonly memory: ChunkMemory;
  /** There is no connection to the member any more, and no request for it. */
  readonly onIdle: (peer: PeerId) => void;
  readonly clock: Clock;
}

export class DataClient implements AsyncDisposable {
  readonly #options: DataClientOptions;
  readonly #context: ConnectionContext;
  readonly #members: LRUCache<PeerId, MemberConnections>;
  /** Connections that were replaced, and still have requests under way. */
  readonly #retired = new Set<MemberConnections>();

  constructor(options: DataClientOptions) {
    const { tls, limit, clock } = options;
    this.#options = options;
    this.#members = new LRUCache({ max: MAX_MEMBERS, dispose: (connections) => this.#retire(connections) });
    this.#context = {
      tls: tls && secureContext(tls),
      limit,
      clock,
      dials: new PQueue({ concurrency: DIALS_AT_ONCE }),
      introduce: (peer) => this.#introduce(peer),
      onIdle: (connections) => this.#idle(connections),
    };
  }

  /** Begins at once; never throws. @returns cancels the request; no event comes after that */
  fetch(member: DialTarget, request: ChunkFetch, events: ReceiverEvents): () => void {
    const receiver = new ChunkReceiver(request, events, this.#options.memory);
    const task = { receiver, text: this.#format(request), retried: false };
    const connections = this.#connectionsTo(member);
    connections.run(task);
    return () => connections.cancel(task);
  }

  /** Ends all requests at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#members.values(), ...this.#retired];
    this.#members.clear();
    for (const connections of all) connections.close();
  }

  #format(request: ChunkFetch): string {
    const { target, headers } = formatRequest(request);
    const name = this.#context.tls === undefined ? `${HEADER.peer}: ${this.#options.self}\r\n` : '';
    return `GET ${target} HTTP/1.1\r\nHost: weir\r\n${name}${headers}\r\n`;
  }

  #connectionsTo(member: DialTarget): MemberConnections {
    const known = this.#members.get(member.peer);
    if (known !== undefined && isSamePort(known.member, member)) return known;
    const connections = new MemberConnections(member, this.#context);
    this.#members.set(member.peer, connections);
    return connections;
  }

  #retire(connections: MemberConnections): void {
    if (!connections.isIdle) this.#retired.add(connections);
    connections.retire();
  }

  #idle(connections: MemberConnections): void {
    this.#retired.delete(connections);
    const { peer } = connections.member;
    // Its record may have changed, and with it the connections.
    if (this.#members.peek(peer)?.isIdle ?? true) this.#options.onIdle(peer);
  }

  /** Never rejects: if it fails, the member may know this node all the same. */
  async #introduce(peer: PeerId): Promise<void> {
    const { introduce, clock } = this.#options;
    const over = new AbortController();
    try {
      await Promise.race([introduce(peer), clock.sleep(INTRODUCTION_TIMEOUT, { signal: over.signal })]);
    } catch {
      return; // the member will cut this node off, and that is reported
    } finally {
      over.abort();
    }
  }
}

function secureContext({ cert, key }: KeyPair): SecureContext {
  return createSecureContext({ cert, key, minVersion: 'TLSv1.3', ciphers: CIPHERS });
}

/** Whether connections that were made for one record of a member can be used for another. */
function isSamePort(one: DialTarget, other: DialTarget): boolean {
  return Buffer.compare(one.fingerprint, other.fingerprint) === 0 && addressesOf(one) === addressesOf(other);
}

function addressesOf({ dataAddresses }: DialTarget): string {
  return dataAddresses.map(({ host, port }) => `${host} ${port}`).join();
}
