/** Makes the reports of this node for its admin address (status/status-report.ts). */
import { isIPv6 } from 'node:net';
import type { Clock } from '../util/clock.ts';
import type { Config } from '../config/settings.ts';
import type { Suspect } from '../cluster/membership.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import { Identity } from '../protocol/identity.ts';
import type { Download } from '../pull/download.ts';
import type { PullRecord } from '../pull/peering.ts';
import type { StoreUsage } from '../store/store.ts';
import { Bitfield } from '../protocol/bitfield.ts';
import type { ImageReport } from '../status/pull-report.ts';
import {
  MAX_TRANSFERS,
  type AloneReport,
  type PeersReport,
  type StatusReport,
  type StoreReport,
  type SuspicionReport,
  type TransferReport,
  type UnstoredReport,
} from '../status/status-report.ts';
import type { AloneState } from './alone-watch.ts';
import type { UnstoredBlobs } from './unstored-blobs.ts';
import { clusterMode, nodeName } from './cluster-settings.ts';
import type { Cluster } from './cluster.ts';
import type { Reload } from './reload.ts';

export interface StatusSourceOptions {
  readonly config: Config;
  readonly version: string;
  readonly clock: Clock;
  /** Bytes handed to runtimes. */
  readonly handedOut: () => number;
  /** Readers of a blob that is arriving. */
  readonly readers: (blob: RegistryBlob) => number;
  /** Bytes of blobs that came from upstream. */
  readonly fromUpstream: () => number;
  readonly usage: () => StoreUsage;
  readonly images: () => readonly ImageReport[];
  readonly unstored: Pick<UnstoredBlobs, 'counts' | 'last'>;
  /** The last time that the configuration was read again. */
  readonly reload: () => Reload | undefined;
}

export class StatusSource {
  readonly #options: StatusSourceOptions;
  readonly #startedAt: number;
  /** A peer ID for a node without a cluster: readers of the report require one. */
  readonly #nobody = Identity.generate().peer;

  constructor(options: StatusSourceOptions) {
    this.#options = options;
    this.#startedAt = options.clock.monotonic();
  }

  status(cluster: Cluster | undefined, alone: readonly Download[]): StatusReport {
    const { config, version, clock, handedOut, fromUpstream, images } = this.#options;
    const live = cluster?.table.live() ?? [];
    const zones: Record<string, number> = {};
    for (const { zone } of live) zones[zone] = (zones[zone] ?? 0) + 1;
    const [toRuntimes, upstream] = [handedOut(), fromUpstream()];
    const reload = this.#options.reload();
    return {
      version,
      name: nodeName(config),
      peer: cluster?.table.self.peer ?? this.#nobody,
      zone: config['node.zone'],
      uptime_seconds: (clock.monotonic() - this.#startedAt) / 1000,
      reload: reload && {
        at: new Date(reload.at).toISOString(),
        error: reload.error,
        waiting: reload.waiting,
      },
      cluster: {
        mode: clusterMode(config),
        members: cluster === undefined ? 1 : live.length,
        connections: cluster?.network.peers().length ?? 0,
        zones,
        alone: aloneReport(cluster?.aloneWatch.state),
      },
      store: storeReport(this.#options.usage()),
      transfers: [
        ...alone.map((download) => this.#alone(download)),
        ...(cluster?.peering.pulls ?? []).map((record) => this.#transfer(record)),
      ].slice(0, MAX_TRANSFERS),
      totals: {
        from_peers: cluster?.traffic.fromPeers ?? 0,
        from_other_zones: cluster?.traffic.fromOtherZones ?? 0,
        from_upstream: upstream,
        to_peers: cluster?.traffic.toPeers ?? 0,
        to_runtimes: toRuntimes,
        saved: Math.max(0, toRuntimes - upstream),
      },
      unstored: unstoredReport(this.#options.unstored),
      suspects: (cluster?.table.suspects() ?? []).map((suspect) => {
        const { reason, until, banned } = suspicion(suspect);
        const { peer } = suspect;
        return { peer, name: cluster?.table.get(peer)?.name ?? '', reason, until, banned };
      }),
      images: images(),
    };
  }

  peers(cluster: Cluster | undefined): PeersReport {
    if (cluster === undefined) return { peers: [] };
    const { table, network, swarms, traffic, wire } = cluster;
    const connected = new Map(network.peers().map((peer) => [peer.peer, peer]));
    const suspects = new Map(table.suspects().map((suspect) => [suspect.peer, suspect]));
    const running = [...swarms.swarms];
    const known = [...table.records.all()]
      .map(({ record }) => record.member)
      .filter(({ peer }) => peer !== table.self.peer);
    return {
      peers: known.map(({ peer, name, zone, version, controlAddresses, dataAddresses, leaving }) => {
        const connection = connected.get(peer);
        const suspect = suspects.get(peer);
        const bytes = traffic.bytesOf(peer);
        return {
          peer,
          name,
          zone,
          version,
          addresses: controlAddresses,
          transfer_addresses: dataAddresses.map(
            ({ host, port }) => `${isIPv6(host) ? `[${host}]` : host}:${port}`,
          ),
          connected: connection !== undefined || wire.isConnected(peer),
          direction: connection?.direction,
          rtt_ms: connection?.rtt,
          swarms: running.filter(({ state }) => state.peers.get(peer) !== undefined).length,
          from_bytes: bytes.from,
          to_bytes: bytes.to,
          leaving,
          suspect: suspect && suspicion(suspect),
        };
      }),
    };
  }

  /** A pull without peers. */
  #alone({ digest, repository, ingest, began, readers }: Download): TransferReport {
    const { layout, presentBytes } = ingest;
    const present = new Bitfield(layout.count);
    for (let index = 0; index < layout.count; index++) if (ingest.has(index)) present.set(index);
    const bitmap = Buffer.from(present.bytes).toString('base64');
    return {
      digest,
      registry: repository.registry,
      repository: repository.name,
      size: layout.size,
      present_bytes: presentBytes,
      chunks: layout.count,
      present_chunks: present.count,
      bitmap,
      upstream_bitmap: bitmap,
      state: 'pulling',
      seconds: (this.#options.clock.monotonic() - began) / 1000,
      readers,
      peers: 0,
      sources: { peers: 0, upstream: presentBytes, local: 0 },
    };
  }

  #transfer({ view, began, ended, kept }: PullRecord): TransferReport {
    const { digest, repository, size, chunks, presentChunks, presentBytes, peers, fromPeers, fromUpstream } =
      view;
    return {
      digest,
      registry: repository.registry,
      repository: repository.name,
      size,
      present_bytes: presentBytes,
      chunks,
      present_chunks: presentChunks,
      bitmap: Buffer.from(view.present).toString('base64'),
      upstream_bitmap: Buffer.from(view.upstream).toString('base64'),
      state: ended === undefined ? 'pulling' : kept ? 'complete' : 'failed',
      seconds: ((ended ?? this.#options.clock.monotonic()) - began) / 1000,
      readers: this.#options.readers({ registry: repository.registry, digest }),
      peers: peers,
      sources: {
        peers: fromPeers,
        upstream: fromUpstream,
        local: Math.max(0, presentBytes - fromPeers - fromUpstream),
      },
    };
  }
}

export function storeReport(usage: StoreUsage): StoreReport {
  const { blobs, blobBytes, partialBytes, quota, pins, pinnedBytes, disk, state } = usage;
  return {
    blobs,
    bytes: blobBytes,
    partial_bytes: partialBytes,
    quota,
    pins,
    pinned_bytes: pinnedBytes,
    disk_bytes: disk.size,
    disk_free_bytes: disk.free,
    state,
  };
}

function aloneReport(state: AloneState | undefined): AloneReport | undefined {
  if (state === undefined) return undefined;
  const { reason, at, message, cure, seconds } = state;
  return { reason, at, problem: message, cure, seconds };
}

function unstoredReport({ counts, last }: StatusSourceOptions['unstored']): UnstoredReport {
  return {
    ...counts,
    last: last && { ...last, at: new Date(last.at).toISOString() },
  };
}

function suspicion({ reason, until, banned }: Suspect): SuspicionReport {
  return { reason, until: new Date(Math.min(until, MAX_DATE)).toISOString(), banned };
}

/** The last date that RFC 3339 can write: the end of a ban that never ends. */
const MAX_DATE = Date.UTC(9999, 11, 31);
