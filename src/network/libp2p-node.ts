/** Makes the libp2p node: its parts and their limits. limits.ts has the reason for each value. */
import { hkdfSync } from 'node:crypto';
import { gossipsub, StrictNoSign, type GossipSub } from '@libp2p/gossipsub';
import { identify, type Identify } from '@libp2p/identify';
import type { Libp2p } from '@libp2p/interface';
import { kadDHT, passthroughMapper, type KadDHT } from '@libp2p/kad-dht';
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import { noise } from '@libp2p/noise';
import { ping, type Ping } from '@libp2p/ping';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p, type Libp2pOptions } from 'libp2p';
import { HOUR } from '../util/clock.ts';
import type { Identity } from '../protocol/identity.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { MAX_GOSSIP_BYTES } from '../protocol/sync-messages.ts';
import { toMultiaddr, type ListenAddress } from './addresses.ts';
import { makeGater } from './connection-gater.ts';
import { GroupedStore } from './grouped-store.ts';
import { quietLogger, withSingleWrites, withSparseUpdates } from './libp2p-tweaks.ts';
import * as limits from './limits.ts';
import { withCache } from './peer-store.ts';

export type Libp2pNode = Libp2p<{ identify: Identify; ping: Ping; dht: KadDHT; pubsub: GossipSub }>;

export interface Libp2pNodeOptions {
  readonly identity: Identity;
  readonly clusterKey: Uint8Array | undefined;
  readonly listen: readonly ListenAddress[];
  /** Turns the addresses listened on into those that others are told; all are multiaddrs. */
  readonly announced: (listening: readonly string[]) => readonly string[];
  readonly mdns: boolean;
  readonly version: string;
  /** Whether connections of this peer are refused. */
  readonly isRefused: (peer: PeerId) => boolean;
  /** Whether a member's record contains this address. */
  readonly isKnown: (host: string) => boolean;
}

/** Milliseconds until a provider record expires; provider-announcer.ts renews it before. */
export const PROVIDER_VALIDITY: number = 24 * HOUR;

export function gossipTopic(clusterKey: Uint8Array | undefined): string {
  return `weir/${clusterTag(clusterKey)}`;
}

/** The node is not started yet. */
export async function createLibp2pNode(options: Libp2pNodeOptions): Promise<Libp2pNode> {
  const libp2p = await createLibp2p({
    start: false,
    ...quietLogger(process.env),
    privateKey: privateKeyFromRaw(options.identity.raw),
    nodeInfo: { name: 'weir', version: options.version, userAgent: `weir/${options.version}` },
    addresses: {
      listen: options.listen.map(({ host, port }) => toMultiaddr(host, port)),
      announceFilter: (listening) =>
        options
          .announced(listening.map(String))
          .map((address) => multiaddr(`${address}/p2p/${options.identity.peer}`)),
    },
    transports: [tcp()],
    connectionEncrypters: [withSingleWrites(noise({ prologueBytes: noisePrologue(options.clusterKey) }))],
    streamMuxers: [
      withSparseUpdates(
        yamux({
          maxInboundStreams: limits.MAX_STREAMS_PER_CONNECTION,
          maxOutboundStreams: limits.MAX_STREAMS_PER_CONNECTION,
          enableKeepAlive: false, // heartbeats.ts does that
        }),
      ),
    ],
    connectionGater: makeGater(options.isRefused, options.isKnown),
    connectionManager: {
      maxConnections: limits.MAX_CONNECTIONS,
      maxIncomingPendingConnections: limits.MAX_PENDING_HANDSHAKES,
      inboundConnectionThreshold: limits.MAX_NEW_CONNECTIONS_PER_SECOND,
      inboundUpgradeTimeout: limits.LONGEST_HANDSHAKE,
      inboundStreamProtocolNegotiationTimeout: limits.LONGEST_NEGOTIATION,
      outboundStreamProtocolNegotiationTimeout: limits.LONGEST_NEGOTIATION,
      maxParallelDials: limits.MAX_PARALLEL_DIALS,
      maxDialQueueLength: limits.MAX_DIAL_QUEUE,
      // dialer.ts has shorter ones, in active time.
      dialTimeout: limits.LONGEST_DIAL,
      addressDialTimeout: limits.LONGEST_DIAL,
    },
    datastore: new GroupedStore(),
    // The DHT looks up providers' addresses here. libp2p's default of an hour would make most records useless long
    // before they expire.
    peerStore: { maxAddressAge: 2 * PROVIDER_VALIDITY, maxPeerAge: 2 * PROVIDER_VALIDITY },
    connectionMonitor: { enabled: false }, // heartbeats.ts
    peerDiscovery: options.mdns ? [await mdnsDiscovery(options.clusterKey)] : [],
    services: {
      identify: identify({ protocolPrefix: 'weir', runOnConnectionOpen: false }), // neighbours.ts decides when
      ping: ping(),
      dht: makeDht(),
      pubsub: makePubsub(gossipTopic(options.clusterKey)),
    },
  });
  withCache(libp2p.peerStore);
  return libp2p;
}

/** Loaded only if it is wanted: it brings a DNS codec. */
async function mdnsDiscovery(
  clusterKey: Uint8Array | undefined,
): Promise<NonNullable<Libp2pOptions['peerDiscovery']>[number]> {
  const { mdns } = await import('@libp2p/mdns');
  return mdns({ serviceTag: `_weir-${clusterTag(clusterKey)}._udp.local` });
}

function makeDht(): ReturnType<typeof kadDHT> {
  return kadDHT({
    protocol: '/weir/kad/1.0.0',
    clientMode: false,
    // The default drops private addresses, which are all that a cluster has.
    peerInfoMapper: passthroughMapper,
    // A lone node must not wait for peers in a query.
    allowQueryWithZeroPeers: true,
    kBucketSize: limits.PROVIDER_RECORDS,
    alpha: limits.DHT_PARALLEL,
    disjointPaths: 2,
    // Only its clean-up is used: provider-announcer.ts renews records, at its own pace.
    reprovide: { validity: PROVIDER_VALIDITY, threshold: 0, concurrency: 1 },
  });
}

function makePubsub(topic: string): ReturnType<typeof gossipsub> {
  return gossipsub({
    // Records carry their member's signature; a second one per message would only cost.
    globalSignaturePolicy: StrictNoSign,
    allowedTopics: [topic],
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    fallbackToFloodsub: false,
    // Publishes to the mesh only: a node may have hundreds of connections on demand.
    floodPublish: false,
    maxInboundDataLength: MAX_GOSSIP_BYTES,
    // Nodes behind one NAT share an address, and so do all tests: that says nothing about them.
    scoreParams: { IPColocationFactorWeight: 0 },
  });
}

const SALT = 'weir/cluster-key/1';
/** Bytes of a derived key. */
const LENGTH = 32;

/**
 * The prologue of the Noise handshake. If two nodes have different prologues, the first encrypted message cannot be
 * read, and the handshake fails. A cluster without a key has a prologue, too, so that it never meets one with a key.
 */
export function noisePrologue(key: Uint8Array | undefined): Uint8Array {
  return derive(key, 'noise prologue');
}

/** Eight hex digits that distinguish clusters on one LAN where names are public: in mDNS and in the gossip topic. */
export function clusterTag(key: Uint8Array | undefined): string {
  return Buffer.from(derive(key, 'public tag')).toString('hex').slice(0, 8);
}

function derive(key: Uint8Array | undefined, use: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key ?? new Uint8Array(), SALT, use, LENGTH));
}
