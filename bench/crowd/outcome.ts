/** Makes a result of the observations of a turn. Pure. */
import { GIB } from '../../src/util/clock.ts';
import type { Access } from '../../test/support/access-log.ts';
import type { SourceBytes } from '../report/result.ts';
import { percentile } from '../../test/simulator/stats.ts';
import type { CrowdSettings } from './options.ts';
import { isWaitedFor, lowerBound, type NodePlan } from './plan.ts';
import type { Pulled } from './pulls.ts';
import type { CrowdResult, NodeResult } from './result.ts';
import type { NodeTraffic } from './systems/system.ts';

/** Observations while all nodes pull. Lists have one entry for each node. */
export interface Seen {
  readonly pulled: readonly Pulled[];
  readonly traffic: readonly (NodeTraffic | undefined)[];
  readonly connections: readonly number[];
  readonly registryConnections: number | null;
  /** Requests to the registry while nodes pulled. */
  readonly accesses: readonly Access[];
  readonly wireBytes: number | null;
  /** Bytes over the links of all nodes. */
  readonly linkBytes: number | null;
  /** Of all processes of the system. */
  readonly cpuSeconds: number;
  /** Part of them: the main threads of the processes on nodes; null if the system has none there. */
  readonly mainCpuSeconds: number | null;
  /** Milliseconds by which the event loops of nodes were late, 99 of 100 looks; empty if none told. */
  readonly loopDelays: readonly number[];
  readonly cpuBusy: number;
  readonly cpuStolen: number;
  readonly peakBytes: readonly (number | null)[];
  /** Memory of processes that belong to no node. */
  readonly centralPeakBytes: readonly number[];
  readonly curve: readonly (readonly [seconds: number, bytes: number])[];
}

/** Observations of a turn, with its settings and the figures from before it. */
export interface Observed extends Seen {
  readonly system: string;
  /** Addresses of nodes that do not report the source of their bytes; undefined if all have one address. */
  readonly addresses: readonly string[] | undefined;
  /** Start of the runtimes' User-Agent; undefined if it does not tell which requests went past a mirror. */
  readonly runtimeAgent: string | undefined;
  /** Source of bytes that neither the node nor its address tells. */
  readonly untold: keyof SourceBytes;
  readonly turn: number;
  readonly seed: number;
  readonly settings: CrowdSettings;
  readonly imageBytes: number;
  readonly plan: readonly NodePlan[];
  readonly startSeconds: number;
  readonly knownSeconds: number | null;
  /** Of all processes of the system until nodes began to pull. */
  readonly startCpuSeconds: number;
  readonly idleBytes: readonly (number | null)[];
  readonly idlePrivateBytes: readonly (number | null)[];
  readonly versions: Readonly<Record<string, string>>;
}

export function resultOf(seen: Observed): CrowdResult {
  const { imageBytes, plan, accesses, pulled } = seen;
  const perNode = plan.map((_, index) => nodeResult(seen, index));
  const registryBytes = sum(accesses.map(bodyOf));
  const arrived = imageBytes * pulled.filter(({ completed }) => completed !== null).length;
  const failed = pulled.flatMap(({ failure }, index) =>
    failure === undefined ? [] : [{ node: plan[index]?.name ?? '', reason: failure }],
  );
  const peaks = [...seen.peakBytes.filter((bytes) => bytes !== null), ...seen.centralPeakBytes];
  return {
    system: seen.system,
    nodes: plan.length,
    turn: seen.turn,
    seed: seen.seed,
    image_bytes: imageBytes,
    ...timesOf(seen),
    registry_bytes: registryBytes,
    registry_ratio: registryBytes / imageBytes,
    registry_wire_bytes: seen.wireBytes,
    link_ratio: seen.linkBytes === null || arrived === 0 ? null : seen.linkBytes / arrived,
    registry_requests: accesses.length,
    registry_connections_max: seen.registryConnections,
    ...fallbacksOf(seen),
    cross_zone_bytes: sum(perNode.map((node) => node.cross_zone_bytes)),
    cpu_s_per_gib: arrived === 0 ? null : seen.cpuSeconds / (arrived / GIB),
    loop_p99_ms: seen.loopDelays.length === 0 ? null : Math.max(...seen.loopDelays),
    main_cpu_s_per_gib:
      arrived === 0 || seen.mainCpuSeconds === null ? null : seen.mainCpuSeconds / (arrived / GIB),
    cpu_busy: seen.cpuBusy,
    cpu_stolen: seen.cpuStolen,
    start_s: seen.startSeconds,
    known_s: seen.knownSeconds,
    start_cpu_s: seen.startCpuSeconds,
    rss_idle_bytes: medianOfSome(seen.idleBytes),
    private_idle_bytes: medianOfSome(seen.idlePrivateBytes),
    rss_max_bytes: peaks.length === 0 ? null : Math.max(...peaks),
    connections_max: Math.max(0, ...seen.connections),
    died: plan.filter(({ dies }, index) => dies !== undefined && pulled[index]?.completed === null).length,
    slow: plan.filter(({ isSlow }) => isSlow).length,
    failures: failed.length,
    failure_reasons: failed,
    versions: seen.versions,
    per_node: perNode,
    registry_curve: seen.curve,
  };
}

function fallbacksOf(
  seen: Observed,
): Pick<CrowdResult, 'fallback_requests' | 'fallback_bytes' | 'fallback_reasons'> {
  const { runtimeAgent, plan, pulled } = seen;
  const accesses = pastMirrors(seen);
  return {
    fallback_requests: runtimeAgent === undefined ? null : accesses.length,
    fallback_bytes: runtimeAgent === undefined ? null : sum(accesses.map(bodyOf)),
    fallback_reasons: pulled.flatMap(({ fallbacks }, index) =>
      fallbacks.map((reason) => ({ node: plan[index]?.name ?? '', reason })),
    ),
  };
}

/** Requests that runtimes with a mirror made to the registry itself. */
function pastMirrors({ accesses, runtimeAgent }: Observed): readonly Access[] {
  if (runtimeAgent === undefined) return [];
  return accesses.filter(({ userAgent }) => userAgent.startsWith(runtimeAgent));
}

function bodyOf({ method, bytes }: Access): number {
  return method === 'GET' ? bytes : 0;
}

type Times = Pick<
  CrowdResult,
  'lower_bound_s' | 'makespan_s' | 'makespan_ratio' | 'p50_s' | 'p99_s' | 'later_p50_s' | 'first_byte_p50_s'
>;

/** Times of nodes that are waited for. A failed pull counts in the makespan until its end, and in no other time. */
function timesOf({ settings, imageBytes, plan, pulled }: Observed): Times {
  const bound = lowerBound(settings, imageBytes, plan);
  const waited = plan.flatMap((node, index) => {
    const pull = pulled[index];
    return pull !== undefined && isWaitedFor(node) ? [{ wave: node.wave, ...pull }] : [];
  });
  const makespan = Math.max(0, ...waited.map(({ ended }) => ended));
  const whole = waited.filter(({ completed }) => completed !== null);
  const own = (pulls: typeof whole): readonly number[] =>
    pulls.map(({ started, ended }) => ended - (started ?? 0));
  const later = own(whole.filter(({ wave }) => wave > 0));
  const firstBytes = whole.flatMap(({ firstByte }) => firstByte ?? []);
  return {
    lower_bound_s: bound,
    makespan_s: makespan,
    makespan_ratio: makespan / bound,
    p50_s: whole.length === 0 ? makespan : percentile(own(whole), 50),
    p99_s: whole.length === 0 ? makespan : percentile(own(whole), 99),
    later_p50_s: later.length === 0 ? null : percentile(later, 50),
    first_byte_p50_s: firstBytes.length === 0 ? null : percentile(firstBytes, 50),
  };
}

function nodeResult(seen: Observed, index: number): NodeResult {
  const { plan, pulled, traffic, connections, peakBytes } = seen;
  const { started = null, completed = null, firstByte = null } = pulled[index] ?? {};
  const told = traffic[index];
  return {
    node: plan[index]?.name ?? '',
    zone: plan[index]?.zone ?? '',
    started_s: started,
    completed_s: completed,
    first_byte_s: firstByte,
    bytes: told === undefined ? sourcesOf(seen, index) : withFallbacks(seen, index, told.bytes),
    sent_bytes: told?.sentBytes ?? 0,
    cross_zone_bytes: told?.crossZoneBytes ?? 0,
    connections: connections[index] ?? 0,
    rss_bytes: peakBytes[index] ?? null,
  };
}

/** Sources of a node that does not report them: bytes sent by the registry to its address, and the rest. */
function sourcesOf(
  { pulled, addresses, accesses, imageBytes, untold }: Observed,
  index: number,
): SourceBytes {
  const arrived = (pulled[index]?.completed ?? null) === null ? 0 : imageBytes;
  if (addresses === undefined) return { peers: 0, registry: 0, [untold]: arrived };
  const registry = sentTo(addresses[index], accesses);
  return { registry, peers: Math.max(0, arrived - registry) };
}

/** Sources that the node reports, and bytes that its runtime fetched past it, if each node has its own address. */
function withFallbacks(seen: Observed, index: number, { peers, registry }: SourceBytes): SourceBytes {
  return { peers, registry: registry + sentTo(seen.addresses?.[index], pastMirrors(seen)) };
}

/** Bytes of bodies. */
function sentTo(address: string | undefined, accesses: readonly Access[]): number {
  return sum(accesses.filter(({ client }) => client === address).map(bodyOf));
}

/** Bytes since then; undefined if the node does not answer any more. */
export function difference(
  after: NodeTraffic | undefined,
  before: NodeTraffic | undefined,
): NodeTraffic | undefined {
  if (after === undefined || before === undefined) return undefined;
  return {
    bytes: {
      peers: after.bytes.peers - before.bytes.peers,
      registry: after.bytes.registry - before.bytes.registry,
    },
    sentBytes: after.sentBytes - before.sentBytes,
    crossZoneBytes: after.crossZoneBytes - before.crossZoneBytes,
  };
}

function medianOfSome(values: readonly (number | null)[]): number | null {
  const some = values.filter((value) => value !== null);
  return some.length === 0 ? null : percentile(some, 50);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, each) => total + each, 0);
}
