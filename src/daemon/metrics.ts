/**
 * Metrics in Prometheus' format. Names and labels are an interface: docs/metrics.md lists them, and a test keeps the two
 * equal. Each label has few values. Callers choose registries, so only the first hundred registries get a label.
 */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ErrorCode, WeirError } from '../util/errors.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { MirrorObserver, RequestReport } from '../mirror/mirror.ts';
import type { ByteSource } from '../pull/blob-reader.ts';
import type { StoreUsage } from '../store/store.ts';
import { DURATION_BUCKETS, meterPulls } from './pull-metrics.ts';
import { measureStore } from './store-metrics.ts';
import type { PullMeter } from './pull-account.ts';
import { ConditionMetrics } from './condition-metrics.ts';
import type { Reload } from './reload.ts';
import { measure } from './gauges.ts';
import { measureReloads } from './reload-metrics.ts';
import type { TrafficMeter } from './traffic.ts';
import type { RequestKind, UpstreamObserver } from '../upstream/registry-config.ts';
import {
  BYTE_SOURCES,
  CONTENT_KINDS,
  FETCH_REASONS,
  LOCAL_SOURCES,
  pairs,
  PREFETCH_OUTCOMES,
  PULL_RESULTS,
  REFUSALS,
  SERVED_KINDS,
  SUSPICION_REASONS,
  type ContentKind,
  type PrefetchOutcome,
} from './metric-labels.ts';

/** Registries with a label of their own; later ones are counted as `other`. */
const MAX_REGISTRY_LABELS = 100;
/** Milliseconds: the longest time that a timer can wait. */
const NEVER = 2 ** 31 - 1;
/**
 * Percentiles of prom-client for which a timer wakes the process a hundred times a second: a third of the CPU of an idle
 * node (docs/adr/0024-active-time-and-few-dials.md). The lag at the moment of a scrape stays.
 */
const LAG_HISTOGRAM = ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'];

/** What a node is, as labels. */
export interface NodeFacts {
  readonly version: string;
  readonly name: string;
  /** Empty: it has none. */
  readonly zone: string;
}

/** Values that are read at the moment of a scrape. */
export interface MetricsSources {
  usage(): StoreUsage;
  runtimeBlobs(): number;
  blobsInFlight(): number;
  /** Bytes that were requested or received, and not yet written. */
  unwrittenBytes(): number;
  /** Live members of the cluster, this node among them. */
  members(): number;
  /** libp2p connections to other members. */
  connections(): number;
  /** Connections to other members on the peer wire. */
  peerConnections(): number;
  /** The last time that the configuration was read again. */
  reload(): Pick<Reload, 'at' | 'error'> | undefined;
}

export class Metrics {
  readonly registry: Registry = new Registry();
  readonly conditions: ConditionMetrics = new ConditionMetrics(this.registry);
  readonly #registryLabels: Set<string> = new Set();

  readonly #requests = this.#counter('weir_mirror_requests_total', 'Requests to the mirror', [
    'route',
    'method',
    'status',
  ]);
  readonly #bytes = this.#counter('weir_mirror_bytes_total', 'Bytes of bodies handed to runtimes', [
    'source',
  ]);
  readonly #cuts = this.#counter('weir_mirror_cut_total', 'Responses cut short of their length', ['code']);
  readonly #inFlight = this.#gauge('weir_mirror_in_flight', 'Requests that are being served now');
  readonly #seconds = this.#histogram('weir_mirror_request_seconds', 'Time to serve a request', ['route']);
  readonly #hits = this.#counter('weir_cache_hits_total', 'Content that the node already had', [
    'kind',
    'source',
  ]);
  readonly #misses = this.#counter('weir_cache_misses_total', 'Content that had to be fetched', ['kind']);
  readonly #staleTags = this.#counter(
    'weir_tag_stale_total',
    'Tags answered with their last known digest',
    [],
  );
  readonly #staleReferrers = this.#counter(
    'weir_referrers_stale_total',
    'Lists of referrers answered as last seen',
    [],
  );
  /** Counts what `weir pulls` shows. */
  readonly pulling: PullMeter = meterPulls(this.registry);
  readonly #pulls = this.#counter('weir_pulls_total', 'Blobs pulled into the store', ['result']);
  readonly #upstreamRequests = this.#counter('weir_upstream_requests_total', 'Requests to upstream', [
    'registry',
    'kind',
    'status',
  ]);
  readonly #upstreamSeconds = this.#histogram(
    'weir_upstream_request_seconds',
    "Time until a registry's answer began",
    ['kind'],
  );
  readonly #upstreamBytes = this.#counter('weir_upstream_bytes_total', 'Bytes of blobs from upstream', [
    'registry',
  ]);
  readonly #upstreamErrors = this.#counter('weir_upstream_errors_total', 'Requests to upstream that failed', [
    'registry',
    'code',
  ]);
  readonly #upstreamRetries = this.#counter(
    'weir_upstream_retries_total',
    'Requests to upstream that were repeated',
    ['registry', 'code'],
  );
  readonly #peerBytes = this.#counter('weir_peer_bytes_total', 'Bytes of chunks from and to peers', [
    'direction',
    'zone',
  ]);
  readonly #fetches = this.#counter(
    'weir_swarm_upstream_requests_total',
    'Requests to upstream for chunks, by the reason that this node made them',
    ['reason'],
  );
  readonly #suspicions = this.#counter('weir_peer_suspicions_total', 'Suspicions of peers, by reason', [
    'reason',
  ]);
  readonly #refusals = this.#counter(
    'weir_transfer_refused_total',
    'Connections to the peer port that were refused',
    ['reason'],
  );
  readonly #rejections = this.#counter(
    'weir_unhandled_errors_total',
    'Unhandled failures; each is a defect of Weir',
    [],
  );
  readonly #served = this.#counter('weir_transfer_requests_total', 'Requests by peers for chunks', [
    'answer',
  ]);
  /** Bytes of bodies handed to runtimes, and of blobs from upstream. */
  handedOut = 0;
  fromUpstream = 0;
  readonly #prefetched = this.#counter(
    'weir_prefetch_bytes_total',
    'Bytes of layers that were fetched before the runtime asked: used, or in vain',
    ['outcome'],
  );
  readonly #preheated = this.#counter('weir_preheat_images_total', 'Images of orders, by result', ['state']);
  readonly #evictions = this.#counter('weir_store_evictions_total', 'Blobs evicted from the store', []);

  constructor({ version, name, zone }: NodeFacts, sources: MetricsSources) {
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: NEVER });
    for (const each of LAG_HISTOGRAM)
      this.registry.removeSingleMetric(`nodejs_eventloop_lag_${each}_seconds`);
    this.#gauge('weir_build_info', 'Always 1; the label is the version', ['version']).set({ version }, 1);
    this.#gauge('weir_node_info', 'Always 1; the labels say which node this is', [
      'name',
      'zone',
      'version',
    ]).set({ name, zone, version }, 1);
    this.#beginAtZero();
    measureStore(this.registry, () => sources.usage());
    measure(this.registry, 'weir_runtime_blobs', "Blobs in the runtime's content folder", () =>
      sources.runtimeBlobs(),
    );
    measure(this.registry, 'weir_cluster_members', 'Live members of the cluster, this node among them', () =>
      sources.members(),
    );
    measure(this.registry, 'weir_cluster_connections', 'libp2p connections to other members', () =>
      sources.connections(),
    );
    measure(this.registry, 'weir_peer_connections', 'Connections to other members on the peer wire', () =>
      sources.peerConnections(),
    );
    measure(
      this.registry,
      'weir_unwritten_bytes',
      'Bytes of chunks requested or received, and not yet written',
      () => sources.unwrittenBytes(),
    );
    measureReloads(this.registry, () => sources.reload());
    measure(this.registry, 'weir_blobs_in_flight', 'Blobs that are arriving', () => sources.blobsInFlight());
  }

  /** All samples whose labels are known (metric-labels.ts has the reason). */
  #beginAtZero(): void {
    for (const source of BYTE_SOURCES) this.#bytes.inc({ source }, 0);
    for (const each of pairs(['kind', CONTENT_KINDS], ['source', LOCAL_SOURCES])) this.#hits.inc(each, 0);
    for (const kind of CONTENT_KINDS) this.#misses.inc({ kind }, 0);
    for (const result of PULL_RESULTS) this.#pulls.inc({ result }, 0);
    for (const each of pairs(['direction', ['in', 'out']], ['zone', ['same', 'other']]))
      this.#peerBytes.inc(each, 0);
    for (const reason of FETCH_REASONS) this.#fetches.inc({ reason }, 0);
    for (const reason of SUSPICION_REASONS) this.#suspicions.inc({ reason }, 0);
    for (const reason of REFUSALS) this.#refusals.inc({ reason }, 0);
    for (const answer of SERVED_KINDS) this.#served.inc({ answer }, 0);
    for (const outcome of PREFETCH_OUTCOMES) this.#prefetched.inc({ outcome }, 0);
  }

  #counter(name: string, help: string, labelNames: readonly string[]): Counter {
    return new Counter({ name, help, labelNames: [...labelNames], registers: [this.registry] });
  }

  #gauge(name: string, help: string, labelNames: readonly string[] = []): Gauge {
    return new Gauge({ name, help, labelNames: [...labelNames], registers: [this.registry] });
  }

  #histogram(name: string, help: string, labelNames: readonly string[]): Histogram {
    const registers = [this.registry];
    return new Histogram({ name, help, labelNames: [...labelNames], buckets: DURATION_BUCKETS, registers });
  }

  #registryLabel(registry: RegistryHost): string {
    if (this.#registryLabels.has(registry)) return registry;
    if (this.#registryLabels.size >= MAX_REGISTRY_LABELS) return 'other';
    this.#registryLabels.add(registry);
    return registry;
  }

  get mirror(): MirrorObserver {
    return { began: () => this.#inFlight.inc(), ended: (report) => this.#ended(report) };
  }

  #ended({ mirrorRequest, route, seconds, error }: RequestReport): void {
    this.#inFlight.dec();
    const kind = route?.kind ?? 'none';
    const method = mirrorRequest.request.method === 'HEAD' ? 'HEAD' : 'GET';
    this.#requests.inc({ route: kind, method, status: String(mirrorRequest.response.statusCode) });
    this.#seconds.observe({ route: kind }, seconds);
    if (mirrorRequest.source !== undefined)
      this.#bytes.inc({ source: mirrorRequest.source }, mirrorRequest.bytes);
    this.handedOut += mirrorRequest.bytes;
    if (error !== undefined && mirrorRequest.response.headersSent && mirrorRequest.bytes > 0)
      this.#cuts.inc({ code: error.code });
  }

  cacheHit(kind: ContentKind, source: ByteSource): void {
    this.#hits.inc({ kind, source });
  }

  cacheMiss(kind: ContentKind): void {
    this.#misses.inc({ kind });
  }

  staleTag(): void {
    this.#staleTags.inc();
  }

  /** An image of an order is over. */
  preheated(state: string): void {
    this.#preheated.inc({ state });
  }

  staleReferrers(): void {
    this.#staleReferrers.inc();
  }

  prefetched(bytes: number, outcome: PrefetchOutcome): void {
    this.#prefetched.inc({ outcome }, bytes);
  }

  evicted(): void {
    this.#evictions.inc();
  }

  /** Counts an unhandled failure. */
  unhandled(): void {
    this.#rejections.inc();
  }

  pulled(failure: WeirError | undefined): void {
    this.#pulls.inc({ result: failure?.code ?? 'ok' });
  }

  get traffic(): TrafficMeter {
    return {
      received: (bytes, sameZone) =>
        this.#peerBytes.inc({ direction: 'in', zone: zoneLabel(sameZone) }, bytes),
      sent: (bytes, sameZone) => this.#peerBytes.inc({ direction: 'out', zone: zoneLabel(sameZone) }, bytes),
      fetching: (reason) => this.#fetches.inc({ reason }),
      blamed: (reason) => this.#suspicions.inc({ reason }),
      refused: (reason) => this.#refusals.inc({ reason }),
      served: (answer) => this.#served.inc({ answer }),
    };
  }

  get upstream(): UpstreamObserver {
    return {
      request: (
        registry: RegistryHost,
        kind: RequestKind,
        status: number | ErrorCode,
        seconds: number,
      ): void => {
        const label = this.#registryLabel(registry);
        this.#upstreamRequests.inc({ registry: label, kind, status: String(status) });
        this.#upstreamSeconds.observe({ kind }, seconds);
        if (typeof status === 'string') this.#upstreamErrors.inc({ registry: label, code: status });
        else if (status >= 500 || status === 429) {
          this.#upstreamErrors.inc({ registry: label, code: `http_${status}` });
        }
      },
      bytes: (registry, n) => {
        this.fromUpstream += n;
        this.#upstreamBytes.inc({ registry: this.#registryLabel(registry) }, n);
      },
      retry: (registry, code) => this.#upstreamRetries.inc({ registry: this.#registryLabel(registry), code }),
    };
  }
}

function zoneLabel(sameZone: boolean): string {
  return sameZone ? 'same' : 'other';
}
