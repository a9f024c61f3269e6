/**
 * The DHT, as {@link ContentRouting}. kad-dht supplies the protocol and the storage. Its step-by-step search for the
 * nearest nodes is not used: this node knows all members, and thus those nearest to a key
 * (docs/adr/0023-ten-nearest-and-ten-holders.md).
 */
import { hash } from 'node:crypto';
import type { PeerId as Libp2pPeerId } from '@libp2p/interface';
import { EventTypes, type FinalPeerEvent, type KadDHT, type QueryEvent } from '@libp2p/kad-dht';
import { peerIdFromString } from '@libp2p/peer-id';
import parallel from 'it-parallel';
import { CID } from 'multiformats/cid';
import { create } from 'multiformats/hashes/digest';
import type { MemberTable } from '../cluster/member-table.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ContentRouting, FindProvidersOptions } from './content-routing.ts';
import type { Dialer } from './dialer.ts';
import { weirPeerIdOf } from './connection-gater.ts';
import { DHT_PARALLEL, PROVIDER_RECORDS } from './limits.ts';
import { NearestMembers } from './nearest-members.ts';
import { PROVIDER_VALIDITY } from './libp2p-node.ts';

const SHA2_256 = 0x12;
/** kad-dht's events name a place in a search; here there is no search. */
const PATH = { index: -1, queued: 0, running: 0, total: 0 };

/** The parts of kad-dht that are used here and are not in its interface. */
interface Internals {
  readonly network: {
    sendRequest(
      to: Libp2pPeerId,
      message: { readonly type: 'GET_PROVIDERS'; readonly key: Uint8Array },
      options: { readonly signal: AbortSignal; readonly path: typeof PATH },
    ): AsyncIterable<QueryEvent>;
  };
  readonly providers: {
    getProviders(cid: CID, options: { readonly signal: AbortSignal }): Promise<readonly Libp2pPeerId[]>;
  };
  readonly contentRouting: { peerRouting: ClosestPeers };
}

interface ClosestPeers {
  getClosestPeers(key: Uint8Array, options: { readonly signal: AbortSignal }): AsyncIterable<FinalPeerEvent>;
}

export interface DhtRoutingOptions {
  readonly dht: KadDHT;
  readonly self: PeerId;
  readonly table: Pick<MemberTable, 'live'>;
  readonly dialer: Pick<Dialer, 'connect' | 'isConnected'>;
}

export class DhtRouting implements ContentRouting {
  readonly validity: number = PROVIDER_VALIDITY;
  readonly #options: DhtRoutingOptions;
  readonly #internals: Internals;
  readonly #nearest: NearestMembers = new NearestMembers();

  /** @throws TypeError if the library has changed */
  constructor(options: DhtRoutingOptions) {
    this.#options = options;
    this.#internals = options.dht as unknown as Internals;
    const { network, providers, contentRouting } = this.#internals;
    if (
      typeof network.sendRequest !== 'function' ||
      typeof providers.getProviders !== 'function' ||
      typeof contentRouting.peerRouting.getClosestPeers !== 'function'
    ) {
      throw new TypeError('@libp2p/kad-dht has changed: src/network/dht.ts does not find what it uses');
    }
    // provide() asks this which members to tell.
    contentRouting.peerRouting = {
      getClosestPeers: (key, { signal }) => this.#reachNearest(key, signal),
    };
  }

  async provide(cid: CID, { signal }: { readonly signal: AbortSignal }): Promise<number> {
    let taken = 0;
    for await (const event of this.#options.dht.provide(keyOf(cid), { signal })) {
      if (event.name === 'PEER_RESPONSE' && event.messageName === 'ADD_PROVIDER') taken += 1;
    }
    return taken;
  }

  async withdraw(cid: CID): Promise<void> {
    await this.#options.dht.cancelReprovide(keyOf(cid));
  }

  async *find(
    cid: CID,
    { signal, answers = Infinity, atOnce = DHT_PARALLEL }: FindProvidersOptions,
  ): AsyncGenerator<PeerId, void> {
    const key = keyOf(cid);
    const known = new Set<PeerId>([this.#options.self]);
    const fresh = (ids: readonly Libp2pPeerId[]): readonly PeerId[] => {
      const peers = ids.flatMap((id) => weirPeerIdOf(id) ?? []).filter((peer) => !known.has(peer));
      for (const peer of peers) known.add(peer);
      return peers;
    };
    yield* fresh(await this.#internals.providers.getProviders(key, { signal }));
    const ended = new AbortController();
    const both = AbortSignal.any([signal, ended.signal]);
    try {
      const peers = this.#inOrderOfCost(this.#nearestOthers(key.multihash.bytes));
      const questions = peers.map((peer) => () => this.#ask(peer, key, both));
      let left = answers;
      for await (const ids of parallel(questions, { concurrency: atOnce })) {
        signal.throwIfAborted();
        if (ids === undefined) continue;
        yield* fresh(ids);
        if (--left <= 0) return;
      }
    } finally {
      ended.abort();
    }
  }

  #nearestOthers(key: Uint8Array): readonly PeerId[] {
    const { table, self } = this.#options;
    const others = table.live().filter(({ peer }) => peer !== self);
    return this.#nearest.of(key, others, PROVIDER_RECORDS);
  }

  /** Each of them has all records, so connected ones are asked first. */
  #inOrderOfCost(peers: readonly PeerId[]): readonly PeerId[] {
    const { dialer } = this.#options;
    const connected = new Set(peers.filter((peer) => dialer.isConnected(peer)));
    return [...connected, ...peers.filter((peer) => !connected.has(peer))];
  }

  /** The holders that the peer knows; undefined if it does not answer. Never throws. */
  async #ask(peer: PeerId, key: CID, signal: AbortSignal): Promise<readonly Libp2pPeerId[] | undefined> {
    if (!(await this.#reach(peer, signal))) return undefined;
    const message = { type: 'GET_PROVIDERS', key: key.multihash.bytes } as const;
    const options = { signal, path: PATH };
    for await (const event of this.#internals.network.sendRequest(peerIdFromString(peer), message, options)) {
      if (event.name === 'PEER_RESPONSE') return event.providers.map(({ id }) => id);
    }
    return undefined;
  }

  /** Dials by the member's record: kad-dht knows only addresses that it has heard of by itself. */
  async #reach(peer: PeerId, signal: AbortSignal): Promise<boolean> {
    return this.#options.dialer.connect(peer, { signal }).then(
      () => true,
      () => false,
    );
  }

  async *#reachNearest(key: Uint8Array, signal: AbortSignal): AsyncGenerator<FinalPeerEvent, void> {
    const dials = this.#nearestOthers(key).map((peer) => async () => {
      return (await this.#reach(peer, signal)) ? peer : undefined;
    });
    const from = peerIdFromString(this.#options.self);
    for await (const peer of parallel(dials, { concurrency: DHT_PARALLEL })) {
      signal.throwIfAborted();
      if (peer === undefined) continue;
      const id = peerIdFromString(peer);
      const peerInfo = { id, multiaddrs: [] };
      yield { name: 'FINAL_PEER', type: EventTypes.FINAL_PEER, from, peer: peerInfo, path: PATH };
    }
  }
}

/**
 * Provider records are stored under bare multihashes, which kad-dht reads as CIDs. That works only for sha2-256,
 * whose multihash is a CID of version 0. Other digests are looked up by the sha2-256 of their multihash.
 */
function keyOf(cid: CID): CID {
  if (cid.multihash.code === SHA2_256) return cid;
  return CID.createV1(cid.code, create(SHA2_256, hash('sha256', cid.multihash.bytes, 'buffer')));
}
