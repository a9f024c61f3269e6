/**
 * Builds the node's part in the cluster: identity, members, peer wire, network, swarms, and the source of pulls.
 * As in node.ts, nothing is decided here. The parts are stopped in the reverse order, so that peers are told first.
 */
import { join } from 'node:path';
import { SECOND, type Clock } from '../util/clock.ts';
import type { Config } from '../config/settings.ts';
import { WeirError } from '../util/errors.ts';
import type { ByteWorkers } from '../bytes/byte-workers.ts';
import { PeerWire } from '../bytes/peer-wire.ts';
import type { BootstrapReason } from '../network/bootstrap-problems.ts';
import { ClusterKeys, clusterTag } from '../network/cluster-keys.ts';
import { Network } from '../network/network.ts';
import { MemberTable } from '../cluster/member-table.ts';
import { Identity } from '../protocol/identity.ts';
import { parsePeerId, type PeerId } from '../protocol/peer-id.ts';
import type { ImportMembers, Imports } from '../pull/imports.ts';
import type { Access } from '../pull/access.ts';
import type { Manifests } from '../pull/manifests.ts';
import { ChunkServer } from '../pull/chunk-server.ts';
import { TagOwners } from '../pull/tag-owners.ts';
import { manifestFor, Peering } from '../pull/peering.ts';
import { ProviderAnnouncer } from '../network/provider-announcer.ts';
import { ProviderSearch } from '../network/provider-search.ts';
import type { ReceiveBudget } from '../util/receive-budget.ts';
import type { ByteFiles } from '../store/byte-files.ts';
import type { BlobProvider } from '../store/store.ts';
import { nodeState } from '../swarm/node-state.ts';
import { PARAMETERS } from '../swarm/parameters.ts';
import { systemScheduler } from '../swarm/scheduler.ts';
import { isGenuine, attest } from '../protocol/attestation.ts';
import { SwarmManager } from '../swarm/swarm-manager.ts';
import { makeCertificate } from '../transfer/certificate.ts';
import type { DocumentRoom } from '../upstream/document-room.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { AloneWatch } from './alone-watch.ts';
import { Announcements } from './announcements.ts';
import {
  clusterMode,
  dataAddresses,
  listenOn,
  nodeName,
  readClusterKeys,
  usesMdns,
} from './cluster-settings.ts';
import { peerRates } from './limits.ts';
import type { Logger } from './logger.ts';
import type { MetricsSources } from './metrics.ts';
import { Traffic } from './traffic.ts';

/** Milliseconds that a tracker waits for the DHT. It answers its swarm meanwhile. */
const FIND_DEADLINE = 3 * SECOND;
/** Milliseconds that a question about an import waits for the DHT: a runtime waits too, and most tags are a registry's. */
const FIND_IMPORT_DEADLINE = 1 * SECOND;
/** Milliseconds after the start for which the first pull waits until another member is found. */
const SETTLE_TIMEOUT = 2 * SECOND;

export interface ClusterOptions {
  readonly config: Config;
  readonly version: string;
  readonly folder: string;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly access: Access;
  /** Undefined if imports are not trusted. */
  readonly imports?: Imports | undefined;
  readonly upstream: Upstream;
  readonly workers: ByteWorkers;
  readonly files: Pick<ByteFiles, 'give' | 'hash'>;
  /** Bounds the bytes that are received and not yet written. */
  readonly room: ReceiveBudget;
  readonly providers: readonly BlobProvider[];
  readonly documents: DocumentRoom;
  /** Made after the cluster, as it needs it. */
  readonly manifests: () => Manifests;
  /** Takes a member's order to preheat, and replies with its progress; undefined: there is no reply. */
  readonly onOrder?: (from: PeerId, order: Uint8Array) => Uint8Array | undefined;
  /** Whether the node is pulling. */
  readonly isPulling: () => boolean;
  readonly onAlone: (reason: BootstrapReason | undefined) => void;
}

export interface Cluster extends AsyncDisposable {
  readonly network: Network;
  /** As it started with. */
  readonly keys: readonly Uint8Array[];
  readonly table: MemberTable;
  readonly swarms: SwarmManager;
  readonly peering: Peering;
  readonly traffic: Traffic;
  readonly wire: PeerWire;
  readonly announcements: Announcements;
  readonly importMembers: ImportMembers;
  readonly aloneWatch: AloneWatch;
}

/**
 * @returns undefined if the configuration turns the cluster off
 * @throws WeirError `config_invalid`, `address_in_use`, `store_unusable`
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster | undefined> {
  const { config, version, logger, clock, access, upstream, files, room, providers, manifests, isPulling } =
    options;
  const mode = clusterMode(config);
  if (mode === 'off') return undefined;
  await using stack = new AsyncDisposableStack();
  const identity = await Identity.load(join(options.folder, 'identity.key'));
  const clusterKeys = await readClusterKeys(config['cluster.key-file']);
  const table = new MemberTable({
    self: identity.peer,
    clock,
    banned: config['cluster.banned'].map(parsePeerId),
  });
  const traffic = new Traffic(table, logger);
  const tls = config['transfer.tls'] === 'on' ? makeCertificate(identity.peer, clock) : undefined;

  // The peer wire comes first: a member that hears of this node may request a chunk at once.
  const late: { service?: ChunkServer; network?: Network; swarms?: SwarmManager; tagOwners?: TagOwners } = {};
  const wire = stack.use(
    await PeerWire.open({
      workers: options.workers,
      listen: listenOn(config['transfer.listen'], mode),
      self: identity.peer,
      tls: tls && { cert: tls.certPem, key: tls.keyPem },
      members: table,
      source: {
        serve: (from, request, acknowledge, signal) =>
          late.service?.serve(from, request, acknowledge, signal) ?? Promise.resolve({ kind: 'absent' }),
      },
      rates: peerRates(config),
      isOtherZone: (peer) => !traffic.isSameZone(peer),
      clock,
      observer: traffic,
      introduce: async (peer) => late.network?.ensureKnown(peer),
      onMessage: (peer, message) => late.swarms?.message(peer, message),
      onQuestion: async (_peer, question, signal) => {
        if (late.tagOwners === undefined) throw new WeirError('internal', 'this node is starting');
        return await late.tagOwners.answer(question, signal);
      },
      onOrder: async (peer, order) => options.onOrder?.(peer, order) ?? new Uint8Array(),
      onReached: (peer) => late.network?.reached(peer),
      onUnreachable: (peer, error) => late.network?.unreachable(peer, error),
      onBroken: (peer, error) => late.network?.broken(peer, error),
      onGone: (peer) => late.network?.gone(peer),
      onWarning: (message) => logger.warn(message),
    }),
  );
  const network = stack.use(
    await Network.start({
      identity,
      clusterKeys: new ClusterKeys(clusterKeys),
      listen: listenOn(config['cluster.listen'], mode),
      announce: config['cluster.announce'],
      bootstrap: config['cluster.bootstrap'],
      mdns: usesMdns(config, mode),
      table,
      selfInfo: {
        name: nodeName(config),
        zone: config['node.zone'],
        version,
        dataAddresses: [],
        fingerprint: tls?.fingerprint ?? new Uint8Array(),
      },
      clock,
      logger,
      dataAddresses: (addresses) => dataAddresses(wire.addresses, addresses),
      onUnreachable: (peer) => late.swarms?.unreachable(peer),
      onHangUp: (peer, reason) => wire.drop(peer, reason),
    }),
  );
  late.network = network;

  const onProblem = (error: unknown): void => logger.debug({ err: error }, 'the DHT failed');
  const contentRouting = network.contentRouting;
  const routing = stack.use(new ProviderSearch({ routing: contentRouting, clock, onProblem }));
  const members = (): number => table.live().length;
  const aloneWatch = stack.use(
    new AloneWatch({
      clock,
      logger,
      after: config['cluster.alone-after'],
      members,
      problem: () => network.bootstrapProblem,
      onChange: options.onAlone,
    }),
  );
  const queue = stack.use(
    new ProviderAnnouncer({
      routing: contentRouting,
      isBusy: isPulling,
      members,
      isLive: (peer) => table.isLive(peer),
      clock,
      onProblem,
    }),
  );
  const announcements = stack.use(new Announcements({ queue, clock, members }));
  const stopping = new AbortController();
  stack.defer(() => stopping.abort());

  const scheduler = systemScheduler(clock);
  const swarms: SwarmManager = new SwarmManager({
    environment: {
      membership: table,
      ...nodeState(PARAMETERS, scheduler, room),
      client: wire,
      send: (peer, message) => {
        // A message to this node itself arrives in the next turn, as one of another member would.
        if (peer === identity.peer) setImmediate(() => swarms.message(peer, message));
        else wire.send(peer, message);
      },
      isConnected: (peer) => wire.isConnected(peer),
      attest: (swarm, size, index, hash) => attest(identity, swarm, size, { index, hash, verified: false }),
      isGenuine,
      observer: traffic,
    },
    holds: (swarm, answer) => {
      late.service?.sizeOf(swarm).then(answer, (error: unknown) => {
        logger.warn({ err: error }, 'a stored blob cannot be looked up');
        answer(undefined);
      });
    },
    findProviders: ({ digest }, found) => {
      routing.find(digest, { signal: stopping.signal, deadline: FIND_DEADLINE }).then(found, () => found([]));
    },
  });
  late.swarms = swarms;
  stack.defer(() => swarms.stop());

  const tagOwners = new TagOwners({
    membership: table,
    ask: (peer, question, asked) => wire.ask(peer, question, asked),
    clock,
    answer: (question) => manifests().answer(question),
  });
  late.tagOwners = tagOwners;
  const known = settled(table, config, clock, usesMdns(config, mode));
  const importMembers: ImportMembers = {
    settled: known,
    others: () => table.live().flatMap(({ peer }) => (peer === identity.peer ? [] : [peer])),
    ask: (peer, question, asked) => wire.ask(peer, question, asked),
    find: (key) => routing.find(key, { signal: stopping.signal, deadline: FIND_IMPORT_DEADLINE }),
  };
  const peering = new Peering({
    membership: table,
    swarms,
    client: wire,
    upstream,
    access,
    files,
    room,
    clock,
    tagOwners: config['tags.share'] === 'on' ? tagOwners : undefined,
    importers: (repository, digest) =>
      access.isImported(repository, digest) ? (options.imports?.sources(repository) ?? []) : [],
    settled: known,
    problem: (message, error) => logger.debug({ err: error }, message),
    received: (swarm, from, bytes) => traffic.received(swarm, from, bytes),
  });
  late.service = new ChunkServer({
    files,
    swarms,
    providers,
    arriving: (swarm) => peering.arriving(swarm),
    isProven: (swarm) => access.isProven(swarm),
    attest: (swarm, size, index, hash) => attest(identity, swarm, size, { index, hash, verified: true }),
    fetchManifest: (from: PeerId, { swarm, owner }) =>
      manifestFor(swarm, from, swarms, () => {
        if (owner === undefined) throw new WeirError('internal', 'a tag owner without a repository');
        const repository = { registry: swarm.registry, name: owner.repository };
        return manifests().fetchFor(repository, swarm.digest, owner.token);
      }),
    documents: options.documents,
    sent: (swarm, to, bytes) => traffic.sent(swarm, to, bytes),
  });
  const keys = clusterKeys.map(clusterTag);
  logger.info({ addresses: network.addresses, peer: identity.peer, mode, keys }, 'cluster listening');
  logger.info({ addresses: table.self.dataAddresses, tls: tls !== undefined }, 'transfer listening');
  await announcements.announceAll(providers);
  const all = stack.move();
  const dispose = (): Promise<void> => all.disposeAsync();
  const cluster = { network, keys: clusterKeys, table, swarms, peering, traffic, wire };
  return { ...cluster, announcements, importMembers, aloneWatch, [Symbol.asyncDispose]: dispose };
}

/** Resolves when another member is known, or after a while: a node that just started must not pull as if it were alone. */
async function settled(table: MemberTable, config: Config, clock: Clock, mdns: boolean): Promise<void> {
  if (config['cluster.bootstrap'].length === 0 && !mdns) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const forget = table.onChange(() => {
    if (table.live().length > 1) resolve();
  });
  await Promise.race([promise, clock.sleep(SETTLE_TIMEOUT)]);
  forget();
}

/** What the metrics read of it. */
export function clusterSources({
  table,
  network,
  wire,
}: Cluster): Pick<MetricsSources, 'members' | 'connections' | 'peerConnections'> {
  return {
    members: () => table.live().length,
    connections: () => network.peers().length,
    peerConnections: () => wire.connections,
  };
}
