/**
 * A member in this process: the parts of the daemon without the mirror, so a test can look inside and pull from it
 * directly.
 */
import { systemClock, MIB, SECOND, type Clock } from '../../src/util/clock.ts';
import { defaultConfig } from '../../src/config/load.ts';
import { isWeirError } from '../../src/util/errors.ts';
import type { Config } from '../../src/config/settings.ts';
import { startCluster, type Cluster } from '../../src/daemon/cluster.ts';
import { createLogger } from '../../src/daemon/logger.ts';
import type { SuspicionReason } from '../../src/cluster/membership.ts';
import type { MemberTable } from '../../src/cluster/member-table.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { parseRegistryHost, parseRepository } from '../../src/oci/repository.ts';
import { Files } from '../../src/bytes/files.ts';
import { UpstreamClient } from '../../src/bytes/upstream-client.ts';
import type { PeerId } from '../../src/protocol/peer-id.ts';
import { Access } from '../../src/pull/access.ts';
import { Blobs } from '../../src/pull/blobs.ts';
import { Manifests } from '../../src/pull/manifests.ts';
import { Catalog } from '../../src/store/catalog.ts';
import { DataFolder } from '../../src/store/data-folder.ts';
import { FsStore } from '../../src/store/fs-store.ts';
import { ReceiveBudget } from '../../src/util/receive-budget.ts';
import { callerOf } from '../../src/upstream/caller.ts';
import type { Credential } from '../../src/upstream/credential.ts';
import { DocumentRoom } from '../../src/upstream/document-room.ts';
import { Upstream } from '../../src/upstream/upstream.ts';
import { readBody } from './body-collector.ts';
import { workersInside } from './byte-workers.ts';
import { TempDir } from './temp.ts';

const LOOPBACK = [{ host: '127.0.0.1', port: 0 }] as const;
/** Layers at a time, as containerd. */
const MAX_TRIES = 4;
const STALL_TIMEOUT = 30 * SECOND;

export interface MemberNodeOptions {
  readonly keyFile: string;
  /** `127.0.0.1:PORT` of another member's control plane. */
  readonly bootstrap?: string | undefined;
  readonly config?: Partial<Config>;
  /** Default: the system's. */
  readonly clock?: Clock;
}

export interface PullOf {
  /** `127.0.0.1:5000`. */
  readonly registry: string;
  readonly repository: string;
  readonly digest: Digest;
  readonly credential?: Credential | undefined;
}

interface Parts {
  readonly cluster: Cluster;
  readonly blobs: Blobs;
  readonly manifests: Manifests;
  readonly access: Access;
}

export class MemberNode implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly blobs: Blobs;
  readonly manifests: Manifests;
  readonly access: Access;
  /** Members that it has ever suspected or banned, and the reasons. */
  readonly accused: Map<PeerId, Set<SuspicionReason>> = new Map();
  readonly #stack: AsyncDisposableStack;

  private constructor({ cluster, blobs, manifests, access }: Parts, stack: AsyncDisposableStack) {
    this.cluster = cluster;
    this.blobs = blobs;
    this.manifests = manifests;
    this.access = access;
    this.#stack = stack;
    this.table.onChange(() => {
      for (const { peer, reason } of this.table.suspects()) {
        this.accused.set(peer, (this.accused.get(peer) ?? new Set()).add(reason));
      }
    });
  }

  static async start(options: MemberNodeOptions): Promise<MemberNode> {
    await using stack = new AsyncDisposableStack();
    const temp = stack.use(await TempDir.create('member'));
    const { clock = systemClock } = options;
    const config = defaultConfig({
      'data.dir': temp.join('data'),
      'cluster.key-file': options.keyFile,
      'cluster.listen': LOOPBACK,
      'transfer.listen': LOOPBACK,
      'cluster.bootstrap': options.bootstrap === undefined ? [] : [options.bootstrap],
      'cluster.mdns': 'off',
      'store.quota': 512 * MIB,
      ...options.config,
    });
    const level = process.env['WEIR_TEST_LOG'] === undefined ? 'silent' : 'debug';
    const logger = await createLogger({ level, format: 'json', isTerminal: false });
    const folder = new DataFolder(config['data.dir']);
    await folder.create();
    const catalog = stack.use(Catalog.open(folder.catalog));
    const { 'store.quota': quota, 'store.partial-max-age': partialMaxAge } = config;
    const workers = stack.use(workersInside());
    const files = new Files(workers);
    const store = stack.use(await FsStore.open({ folder, quota, partialMaxAge, clock, files }));
    const providers = [store];
    const upstream = new Upstream({
      blobs: new UpstreamClient(workers),
      userAgent: 'weir/test',
      via: 'a-member',
      environment: {},
      clock,
    });
    stack.defer(() => upstream.close());
    const { 'access.mode': mode, 'access.ttl': ttl, 'access.offline-ttl': offlineTtl } = config;
    const access = new Access({ mode, ttl, offlineTtl, catalog, upstream, clock });
    const room = new ReceiveBudget({ later: (callback) => void setImmediate(callback) });
    const cluster = await startCluster({
      config,
      version: 'test',
      folder: folder.root,
      logger,
      clock,
      access,
      upstream,
      workers,
      files,
      room,
      documents: new DocumentRoom(),
      providers,
      manifests: () => manifests,
      onAlone: () => undefined,
      isPulling: () => blobs.inFlight > 0,
    });
    if (cluster === undefined) throw new Error('the cluster is turned off');
    stack.use(cluster);
    const quiet = { cacheHit: () => undefined, cacheMiss: () => undefined, problem: () => undefined };
    const blobs = stack.use(
      new Blobs({
        providers,
        store,
        upstream,
        access,
        clock,
        linger: config['pull.linger'],
        stallTimeout: STALL_TIMEOUT,
        maxConcurrent: config['pull.max-concurrent'],
        share: (request, digest) => cluster.peering.share(request, digest),
        observer: { ...quiet, pulled: () => undefined },
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
      peers: cluster.peering,
      observer: { ...quiet, staleTag: () => undefined, handedOut: () => undefined },
    });
    return new MemberNode({ cluster, blobs, manifests, access }, stack.move());
  }

  get table(): MemberTable {
    return this.cluster.table;
  }

  get peer(): PeerId {
    return this.table.self.peer;
  }

  /** `127.0.0.1:PORT` of its control plane. */
  get address(): string {
    const [, , host, , port] = (this.cluster.network.addresses[0] ?? '').split('/');
    return `${host}:${port}`;
  }

  /** The whole blob, as a runtime gets it: a response that was cut because of wrong bytes is asked for again. */
  async pull(blob: PullOf): Promise<Buffer> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#pull(blob);
      } catch (error) {
        if (tries === MAX_TRIES || !isWeirError(error, 'digest_mismatch')) throw error;
      }
    }
  }

  async #pull({ registry, repository, digest, credential }: PullOf): Promise<Buffer> {
    const host = parseRegistryHost(registry);
    await using reading = await this.blobs.open({
      repository: parseRepository(host, repository),
      digest,
      caller: callerOf(host, credential),
      resuming: false,
      dependent: true,
    });
    return await readBody(reading);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}
