/**
 * `weir node`: builds the parts from the configuration, in the order of their layers, and stops them in the reverse
 * order. Nothing is decided here.
 */
import { randomBytes } from 'node:crypto';
import { whenAborted } from '../util/async.ts';
import { systemClock } from '../util/clock.ts';
import type { Config } from '../config/settings.ts';
import { Files } from '../bytes/files.ts';
import { Http } from '../bytes/http.ts';
import { UpstreamClient } from '../bytes/upstream-client.ts';
import { readCertsFolders } from '../upstream/certs-folders.ts';
import { DocumentRoom } from '../upstream/document-room.ts';
import { Mirror } from '../mirror/mirror.ts';
import { Access } from '../pull/access.ts';
import { Blobs } from '../pull/blobs.ts';
import { Manifests } from '../pull/manifests.ts';
import { Catalog } from '../store/catalog.ts';
import { DataFolder } from '../store/data-folder.ts';
import { FsStore } from '../store/fs-store.ts';
import { ReceiveBudget } from '../util/receive-budget.ts';
import type { RuntimeContent } from '../store/runtime-content.ts';
import { AdminImports } from './admin-imports.ts';
import { AdminServer } from './admin-server.ts';
import { AdminToken } from './admin-token.ts';
import type { Announcements } from './announcements.ts';
import { nodeName, readZone } from './cluster-settings.ts';
import { clusterSources, startCluster } from './cluster.ts';
import { diskOptions, watchDisk } from './disk-watch.ts';
import { Conditions } from './conditions.ts';
import { watchFaults } from './uncaught-faults.ts';
import { NodeImports } from './imports.ts';
import { LogLevel, toggleAtSignal } from './log-level.ts';
import type { Logger } from './logger.ts';
import { UpstreamLimit } from './limits.ts';
import { Metrics } from './metrics.ts';
import { logPull, observeManifests } from './observers.ts';
import { noting, startPreheat, type Preheat } from './preheat.ts';
import { makePrefetch } from './prefetch.ts';
import { PullAccount } from './pull-account.ts';
import { makeReferrers } from './referrers.ts';
import { Reloader, type ConfigSource } from './reload.ts';
import { accessRules, reloadableParts } from './reloadable.ts';
import { openRuntime, runtimeRoots } from './runtime-folders.ts';
import { watchOpenFiles } from './open-files.ts';
import { StatusSource } from './status-source.ts';
import { reportRequest } from './request-log.ts';
import { openStoreRoutes } from './store-routes.ts';
import { makeUpstream } from './upstream.ts';
import { startWatchdog } from './watchdog.ts';
import { startWorkers } from './workers.ts';

export interface NodeOptions {
  readonly configured: ConfigSource;
  readonly version: string;
  readonly logger: Logger;
  /** Is aborted to shut down: running requests end first, within `mirror.drain-timeout`. */
  readonly signal: AbortSignal;
  readonly crash: Crash;
}

/** Ends the process at once: after an uncaught exception, if byte workers end again and again, or if one cannot be ended. */
export type Crash = (cause: 'exception' | 'workers' | 'stuck-worker') => void;

/**
 * Runs a node until the signal is aborted and the drain is over.
 * @throws WeirError `store_locked`, `store_unusable`, `address_in_use`, `config_invalid`
 */
export async function runNode({ version, logger, signal, crash, configured }: NodeOptions): Promise<void> {
  const clock = systemClock;
  using reloader = new Reloader({ source: configured, clock, logger });
  const loaded = configured.loaded.config;
  const config: Config = { ...loaded, 'node.zone': await readZone(loaded) };
  const via = randomBytes(8).toString('hex');
  await using stack = new AsyncDisposableStack();

  const room = new ReceiveBudget({ later: (callback) => void setImmediate(callback) });
  const runtimes: RuntimeContent[] = [];
  let announced: Announcements | undefined;
  let preheat: Preheat | undefined;
  const sources = {
    usage: () => store.usage(),
    runtimeBlobs: () => runtimes.reduce((sum, runtime) => sum + runtime.blobs, 0),
    blobsInFlight: () => blobs.inFlight,
    unwrittenBytes: () => room.used,
    members: () => 1,
    connections: () => 0,
    peerConnections: () => 0,
    reload: () => reloader.last,
  };
  const metrics: Metrics = new Metrics(
    { version, name: nodeName(config), zone: config['node.zone'] },
    sources,
  );
  // First to start and last to stop.
  const faults = { process, logger, now: () => clock.monotonic(), end: () => crash('exception') };
  stack.use(watchFaults({ ...faults, onRejection: () => metrics.unhandled() }));
  const conditions = stack.use(
    new Conditions({
      config,
      clock,
      logger,
      metrics: metrics.conditions,
      folders: () => runtimes,
    }),
  );
  const reports = new StatusSource({
    config,
    version,
    clock,
    readers: (blob) => blobs.arriving(blob)?.readers ?? 0,
    handedOut: () => metrics.handedOut,
    fromUpstream: () => metrics.fromUpstream,
    usage: () => store.usage(),
    images: () => pulls.images,
    unstored: conditions.unstored,
    reload: () => reloader.last,
  });
  const logLevel = new LogLevel(logger, config['log.level']);
  stack.use(toggleAtSignal(logLevel, process));
  const { workers, watch } = startWorkers(config, logger, crash);
  stack.use(workers);
  stack.use(watch);
  const files = new Files(workers);
  const http = new Http(workers);
  const folder = new DataFolder(config['data.dir']);
  await folder.create();
  const catalog = stack.use(Catalog.open(folder.catalog, (message) => logger.warn(message)));
  const imported = await NodeImports.open({ config, folder, clock, logger });
  const store = stack.use(
    await FsStore.open({
      folder,
      quota: config['store.quota'],
      partialMaxAge: config['store.partial-max-age'],
      ...diskOptions(config, logger),
      pins: catalog.pins,
      clock,
      files,
      hasDelivered: (registry) => catalog.hasDelivered(registry) || imported.isKnown(registry),
      isPinned: (digest) => imported.records.isPinned(digest),
      onEvict: ({ digest, size }) => {
        metrics.evicted();
        announced?.remove(digest);
        logger.debug({ digest, size }, 'blob evicted');
      },
      onCommit: ({ digest }) => announced?.add(digest),
      onProblem: (message) => logger.warn(message),
    }),
  );
  stack.use(watchDisk(store.keeper, clock, logger));
  for (const root of runtimeRoots(config['store.runtime-content'])) {
    runtimes.push(stack.use(await openRuntime(root, { store, files, logger, announced: () => announced })));
  }
  const providers = [store, ...runtimes];

  const documents = new DocumentRoom();
  const blobTransport = new UpstreamClient(workers);
  const runtimeCerts = readCertsFolders(config['upstream.certs-folders']);
  const upstream = makeUpstream({
    config,
    runtimeCerts,
    version,
    via,
    clock,
    logger,
    documents,
    blobs: blobTransport,
    observer: conditions.observing(metrics.upstream),
  });
  stack.defer(() => upstream.close());
  const access = new Access({
    ...accessRules(config),
    catalog,
    upstream,
    clock,
    imports: imported.imports,
  });
  const cluster = await startCluster({
    config,
    version,
    folder: folder.root,
    logger,
    clock,
    access,
    imports: imported.imports,
    upstream,
    workers,
    files,
    room,
    providers,
    documents,
    manifests: () => manifests,
    onOrder: (from, order) => preheat?.answer(from, order),
    isPulling: () => blobs.inFlight > 0,
    onAlone: (reason) => metrics.conditions.alone(reason),
  });
  const upstreamLimit = stack.use(new UpstreamLimit(config, blobTransport, cluster?.table));
  if (cluster !== undefined) {
    stack.use(cluster);
    announced = cluster.announcements;
    imported.connect(cluster.importMembers, cluster.announcements);
    cluster.traffic.meter = metrics.traffic;
    Object.assign(sources, clusterSources(cluster));
  }
  const warn = (message: string): void => logger.warn(message);
  const problem = (message: string, error: unknown): void => logger.warn({ err: error }, message);
  const blobs: Blobs = stack.use(
    new Blobs({
      providers,
      store,
      upstream,
      access,
      clock,
      linger: config['pull.linger'],
      stallTimeout: config['mirror.stall-timeout'],
      maxConcurrent: config['pull.max-concurrent'],
      share: cluster && ((request, digest) => cluster.peering.share(request, digest)),
      observer: {
        cacheHit: (source) => metrics.cacheHit('blob', source),
        cacheMiss: () => metrics.cacheMiss('blob'),
        pulled: (digest, failure) => {
          metrics.pulled(failure);
          conditions.pulled(digest, failure);
          logPull(logger, store.usage(), digest, failure);
        },
        problem,
      },
    }),
  );
  const manifests: Manifests = new Manifests({
    providers,
    store,
    catalog,
    upstream,
    access,
    clock,
    tagTtl: config['tags.ttl'],
    imports: imported.imports,
    peers: cluster?.peering,
    observer: observeManifests(metrics, logger, (repository, bytes) => prefetch?.listed(repository, bytes)),
  });
  const prefetch = stack.use(
    makePrefetch(config, {
      blobs,
      canSee: () => runtimes.some(({ isVisible }) => isVisible),
      quota: () => store.usage().quota,
      clock,
      observer: { prefetched: (bytes, outcome) => metrics.prefetched(bytes, outcome), problem },
    }),
  );

  const pulls = stack.use(
    new PullAccount({
      clock,
      logger,
      meter: metrics.pulling,
      nameOf: (peer) => cluster?.table.get(peer)?.name ?? '',
    }),
  );
  const parts = { manifests, blobs, providers, store, upstream };
  preheat = stack.use(await startPreheat({ config, clock, logger, metrics, cluster, ...parts }));

  let ready = false;
  const admin = stack.use(
    await AdminServer.start({
      listen: config['admin.listen'],
      hosts: config['admin.hosts'],
      ready: () => ready,
      metrics: () => metrics.registry.metrics(),
      metricsType: metrics.registry.contentType,
      status: () => reports.status(cluster, blobs.alone),
      peers: () => reports.peers(cluster),
      imports: await AdminImports.open(await imported.importer(store), folder, warn),
      preheats: preheat.routes,
      store: await openStoreRoutes(config, { store, catalog, providers, logger }),
      pulls: (query) => pulls.pulls(query),
      logLevel,
      token: await AdminToken.load(folder.adminToken, (message) => logger.warn(message)),
      onProblem: (error) => problem('request to the admin address failed', error),
      onWarning: (message) => logger.warn(message),
    }),
  );
  logger.info({ addresses: admin.addresses }, 'admin listening');
  const counted = metrics.mirror;
  const mirror = stack.use(
    await Mirror.start({
      listen: config['mirror.listen'],
      hosts: config['mirror.hosts'],
      defaultRegistry: config['mirror.default-registry'],
      maxRequests: config['mirror.max-requests'],
      firstByteTimeout: config['mirror.first-byte-timeout'],
      patientTimeout: config['mirror.patient-timeout'],
      clientTimeout: config['mirror.client-timeout'],
      via,
      clock,
      blobs,
      openBlob: noting(store.lastUse, (request) => (prefetch ?? blobs).open(request)),
      manifests,
      referrers: makeReferrers({ upstream, access, clock }, config, metrics, logger),
      upstream,
      http,
      documents,
      observer: {
        began: () => counted.began(),
        routed: (...request) => pulls.routed(...request),
        ended: (report) => {
          counted.ended(report);
          pulls.ended(report);
          conditions.ended(report);
          reportRequest(logger, report);
        },
      },
      onWarning: (message) => logger.warn(message),
    }),
  );
  stack.use(startWatchdog({ hangTimeout: config['mirror.hang-timeout'], warn }));
  stack.use(watchOpenFiles({ clock, warn }));
  logger.info({ addresses: mirror.addresses }, 'mirror listening');
  ready = true;
  const owners = { config, logger, logLevel, access, upstream, manifests, found: runtimeCerts, cluster };
  reloader.begin([...reloadableParts(owners), upstreamLimit]);
  logger.info({ version, data: folder.root, quota: store.usage().quota }, 'ready');

  await whenAborted(signal);
  ready = false;
  logger.info({ serving: mirror.active }, 'shutting down');
  await mirror.drain(config['mirror.drain-timeout']);
  logger.info('stopped');
}
