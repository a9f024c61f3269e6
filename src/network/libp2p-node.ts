/** Makes the libp2p node: its parts and their limits. limits.ts has the reason for each value. */
import { gossipsub, StrictNoSign, type GossipSub } from '@libp2p/gossipsub';
import { identify, type Identify } from '@libp2p/identify';
import type { Libp2p } from '@libp2p/interface';
import { kadDHT, passthroughMapper, type KadDHT } from '@libp2p/kad-dht';
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
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
import type { ClusterKeys } from './cluster-keys.ts';
import { makeGater } from './connection-gater.ts';
import { GroupedStore } from './grouped-store.ts';
import { quietLogger, withSparseUpdates } from './libp2p-tweaks.ts';
import * as limits from './limits.ts';
import { withCache } from './peer-store.ts';

export type Libp2pNode = Libp2p<{ identify: Identify; ping: Ping; dht: KadDHT; pubsub: GossipSub }>;

export interface Libp2pNodeOptions {
  readonly identity: Identity;
  readonly clusterKeys: ClusterKeys;
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

/**
 * The same in all clusters, as mDNS's service name is: members may have different keys while these are changed, and the
 * handshake keeps clusters apart.
 */
export const GOSSIP_TOPIC = 'weir/members';
const MDNS_SERVICE = '_weir._udp.local';

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
    connectionEncrypters: options.clusterKeys.encrypters,
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
    peerDiscovery: options.mdns ? [await mdnsDiscovery()] : [],
    services: {
      identify: identify({ protocolPrefix: 'weir', runOnConnectionOpen: false }), // neighbours.ts decides when
      ping: ping(),
      dht: makeDht(),
      pubsub: makePubsub(GOSSIP_TOPIC),
    },
  });
  withCache(libp2p.peerStore);
  return libp2p;
}

/** Loaded only if it is wanted: it brings a DNS codec. */
async function mdnsDiscovery(): Promise<NonNullable<Libp2pOptions['peerDiscovery']>[number]> {
  const { mdns } = await import('@libp2p/mdns');
  return mdns({ serviceTag: MDNS_SERVICE });
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
