/**
 * `weir node`: builds the parts from the configuration, in the order of their layers, and stops them in the reverse
 * order. Nothing is decided here.
 */
import { randomBytes } from 'node:crypto';
import { systemClock } from '../util/clock.ts';
import type { Config } from '../config/settings.ts';
import type { WeirError } from '../util/errors.ts';
import { Files } from '../bytes/files.ts';
import { Http } from '../bytes/http.ts';
import { readCertsFolders } from '../upstream/certs-folders.ts';
import { UpstreamClient } from '../bytes/upstream-client.ts';
import { DocumentRoom } from '../upstream/document-room.ts';
import { Mirror } from '../mirror/mirror.ts';
import { Access } from '../pull/access.ts';
import { Blobs } from '../pull/blobs.ts';
import { Manifests } from '../pull/manifests.ts';
import { Prefetch } from '../pull/prefetch.ts';
import { Catalog } from '../store/catalog.ts';
import { DataFolder } from '../store/data-folder.ts';
import { FsStore } from '../store/fs-store.ts';
import { ReceiveBudget } from '../util/receive-budget.ts';
import type { RuntimeContent } from '../store/runtime-content.ts';
import { Upstream } from '../upstream/upstream.ts';
import { AdminServer } from './admin-server.ts';
import type { Announcements } from './announcements.ts';
import { readZone } from './cluster-settings.ts';
import { startCluster } from './cluster.ts';
import { watchFaults } from './uncaught-faults.ts';
import type { Logger } from './logger.ts';
import { UpstreamLimit } from './limits.ts';
import { Metrics } from './metrics.ts';
import { Reloader, type ConfigSource } from './reload.ts';
import { accessRules, reloadableParts, upstreamSettings } from './reloadable.ts';
import { openRuntime, runtimeRoots } from './runtime-folders.ts';
import { StatusSource } from './status-source.ts';
import { reportRequest } from './request-log.ts';
import { startWatchdog } from './watchdog.ts';
import { startWorkers } from './workers.ts';

/** Prefetched layers that nobody has asked for take at most this part of the store. */
const PREFETCH_SHARE = 8;

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
  const metrics: Metrics = new Metrics(version, sources);
  // First to start and last to stop.
  stack.use(
    watchFaults({
      process,
      logger,
      now: () => clock.monotonic(),
      onRejection: () => metrics.unhandled(),
      end: () => crash('exception'),
    }),
  );
  const reports = new StatusSource({
    config,
    version,
    clock,
    readers: (blob) => blobs.readers(blob),
    handedOut: () => metrics.handedOut,
    fromUpstream: () => metrics.fromUpstream,
    reload: () => reloader.last,
  });
  const { workers, watch } = startWorkers(config, logger, crash);
  stack.use(workers);
  stack.use(watch);
  const files = new Files(workers);
  const http = new Http(workers);
  const folder = new DataFolder(config['data.dir']);
  await folder.create();
  const catalog = stack.use(Catalog.open(folder.catalog, (message) => logger.warn(message)));
  const store = stack.use(
    await FsStore.open({
      folder,
      quota: config['store.quota'],
      partialMaxAge: config['store.partial-max-age'],
      clock,
      files,
      hasDelivered: (registry) => catalog.hasDelivered(registry),
      onEvict: ({ digest, size }) => {
        metrics.evicted();
        announced?.remove(digest);
        logger.debug({ digest, size }, 'blob evicted');
      },
      onCommit: ({ digest }) => announced?.add(digest),
      onProblem: (message) => logger.warn(message),
    }),
  );
  for (const root of runtimeRoots(config['store.runtime-content'])) {
    runtimes.push(stack.use(await openRuntime(root, { store, files, logger, announced: () => announced })));
  }
  const providers = [store, ...runtimes];

  const documents = new DocumentRoom();
  const runtimeCerts = readCertsFolders(config['upstream.certs-folders']);
  for (const problem of runtimeCerts.problems) logger.warn(problem);
  const upstreamClient = new UpstreamClient(workers);
  const upstream = new Upstream({
    blobs: upstreamClient,
    documents,
    userAgent: `weir/${version}`,
    via,
    ...upstreamSettings(config, runtimeCerts),
    clock,
    observer: metrics.upstream,
    warn: (message) => logger.warn(message),
  });
  stack.defer(() => upstream.close());
  const access = new Access({ ...accessRules(config), catalog, upstream, clock });
  const cluster = await startCluster({
    config,
    version,
    folder: folder.root,
    logger,
    clock,
    access,
    upstream,
    workers,
    files,
    room,
    providers,
    documents,
    manifests: () => manifests,
    isPulling: () => blobs.inFlight > 0,
  });
  const upstreamLimit = stack.use(new UpstreamLimit(config, upstreamClient, cluster?.table));
  if (cluster !== undefined) {
    stack.use(cluster);
    announced = cluster.announcements;
    cluster.traffic.meter = metrics.traffic;
    sources.members = () => cluster.table.live().length;
    sources.connections = () => cluster.network.peers().length;
    sources.peerConnections = () => cluster.wire.connections;
  }
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
        pulled: (digest, failure) => reportPull(digest, failure),
        problem,
      },
    }),
  );
  const reportPull = (digest: string, failure: WeirError | undefined): void => {
    metrics.pulled(failure);
    if (failure === undefined) logger.info({ digest }, 'blob pulled');
    else logger.warn({ digest, err: failure }, 'blob not pulled');
  };
  const manifests: Manifests = new Manifests({
    providers,
    store,
    catalog,
    upstream,
    access,
    clock,
    tagTtl: config['tags.ttl'],
    peers: cluster?.peering,
    observer: {
      cacheHit: (source) => metrics.cacheHit('manifest', source),
      cacheMiss: () => metrics.cacheMiss('manifest'),
      staleTag: (repository, tag, error) => {
        metrics.staleTag();
        logger.warn(
          { repository, tag, err: error },
          'upstream cannot be reached: tag answered with its last known digest',
        );
      },
      handedOut: (repository, bytes) => prefetch?.listed(repository, bytes),
      problem,
    },
  });
  const prefetch =
    config['pull.prefetch'] === 'off'
      ? undefined
      : stack.use(
          new Prefetch({
            blobs,
            canSee: () => runtimes.some(({ isVisible }) => isVisible),
            maxUnused: () => store.usage().quota / PREFETCH_SHARE,
            clock,
            linger: config['pull.linger'],
            observer: { prefetched: (bytes, outcome) => metrics.prefetched(bytes, outcome), problem },
          }),
        );

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
      openBlob: (request) => (prefetch ?? blobs).open(request),
      manifests,
      upstream,
      http,
      documents,
      observer: {
        began: () => counted.began(),
        ended: (report) => {
          counted.ended(report);
          reportRequest(logger, report);
        },
      },
      onWarning: (message) => logger.warn(message),
    }),
  );
  stack.use(
    startWatchdog({
      hangTimeout: config['mirror.hang-timeout'],
      warn: (message) => logger.warn(message),
    }),
  );
  logger.info({ addresses: mirror.addresses }, 'mirror listening');
  ready = true;
  const owners = { config, logger, access, upstream, manifests, found: runtimeCerts, cluster };
  reloader.begin([...reloadableParts(owners), upstreamLimit]);
  logger.info({ version, data: folder.root, quota: store.usage().quota }, 'ready');

  await aborted(signal);
  ready = false;
  logger.info({ serving: mirror.active }, 'shutting down');
  await mirror.drain(config['mirror.drain-timeout']);
  logger.info('stopped');
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => resolve(), { once: true });
  await promise;
}
