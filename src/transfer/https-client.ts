/**
 * The asking side of the data plane: HTTP/1.1 over TLS, or over plain TCP if the cluster's network is trusted.
 *
 * It owns the connections to each member (member-connections.ts), which own the sockets. chunk-receiver.ts reads an
 * answer straight from the socket's buffer into the memory of the chunk. The general HTTP clients (undici,
 * node:http) take more than twice as much CPU for that; bench/transfer measures it.
 */
import { LRUCache } from 'lru-cache';
import { createSecureContext, type SecureContext } from 'node:tls';
import PQueue from 'p-queue';
import { SECOND, type Clock } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import type { Member } from '../protocol/member.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { KeyPair } from './data-port.ts';
import type { ChunkClient, ChunkFetchEvents, ChunkFetch } from './chunk-exchange.ts';
import { DIALS_AT_ONCE, MemberConnections, type ConnectionContext } from './member-connections.ts';
import { ChunkBuffers } from './chunk-buffers.ts';
import { ChunkReceiver } from './chunk-receiver.ts';
import { formatRequest } from './chunk-requests.ts';
import { TokenBucket } from '../util/token-bucket.ts';
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
  /** Bytes per second, over all members. */
  readonly maxDownload: number | undefined;
  /** Sends this node's record to a member that cut a connection off at once, as members do with strangers. */
  readonly introduce?: ((member: Member) => Promise<void>) | undefined;
  readonly clock: Clock;
}

export class DataClient implements ChunkClient, AsyncDisposable {
  readonly #options: DataClientOptions;
  readonly #context: ConnectionContext;
  readonly #members: LRUCache<PeerId, MemberConnections>;
  /** Connections that were replaced, and still have requests under way. */
  readonly #retired = new Set<MemberConnections>();
  readonly #pool = new ChunkBuffers();

  constructor(options: DataClientOptions) {
    const { tls, maxDownload, clock } = options;
    this.#options = options;
    this.#members = new LRUCache({ max: MAX_MEMBERS, dispose: (connections) => this.#retire(connections) });
    this.#context = {
      tls: tls && secureContext(tls),
      limit: maxDownload === undefined ? undefined : new TokenBucket(maxDownload, clock),
      clock,
      dials: new PQueue({ concurrency: DIALS_AT_ONCE }),
      introduce: (member) => this.#introduce(member),
      onIdle: (connections) => this.#idle(connections),
    };
  }

  fetch(member: Member, request: ChunkFetch, events: ChunkFetchEvents): () => void {
    const receiver = new ChunkReceiver(request, events, this.#pool);
    const problem = this.#obstacle(member);
    if (problem !== undefined) {
      queueMicrotask(() => receiver.fail(new WeirError('peer_unreachable', `${member.peer}: ${problem}`)));
      return () => receiver.cancel();
    }
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
    this.#pool.clear();
  }

  /** The reason why this node cannot ask the member. */
  #obstacle({ fingerprint, dataAddresses }: Member): string | undefined {
    const isSecure = fingerprint.length > 0;
    if (isSecure && this.#context.tls === undefined) return 'it serves with TLS alone, and TLS is off here';
    if (!isSecure && this.#context.tls !== undefined) return 'it serves without TLS, which is on here';
    return dataAddresses.length === 0 ? 'it names no data address' : undefined;
  }

  #format(request: ChunkFetch): string {
    const { target, headers } = formatRequest(request);
    const name = this.#context.tls === undefined ? `${HEADER.peer}: ${this.#options.self}\r\n` : '';
    return `GET ${target} HTTP/1.1\r\nHost: weir\r\n${name}${headers}\r\n`;
  }

  #connectionsTo(member: Member): MemberConnections {
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
    if (this.#members.values().every(({ isIdle }) => isIdle)) this.#pool.clear();
  }

  /** Never rejects: if it fails, the member may know this node all the same. */
  async #introduce(member: Member): Promise<void> {
    const { introduce, clock } = this.#options;
    const over = new AbortController();
    try {
      await Promise.race([introduce?.(member), clock.sleep(INTRODUCTION_TIMEOUT, { signal: over.signal })]);
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
function isSamePort(one: Member, other: Member): boolean {
  return (
    one === other ||
    (Buffer.compare(one.fingerprint, other.fingerprint) === 0 && addressesOf(one) === addressesOf(other))
  );
}

function addressesOf({ dataAddresses }: Member): string {
  return dataAddresses.map(({ host, port }) => `${host} ${port}`).join();
}
