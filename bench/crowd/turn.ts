/** One turn of one system: it is started, all nodes pull, and what that came to is measured. */
import { GIB, MINUTE, SECOND } from '../../src/clock.ts';
import { busyShare, cpuTimes, stolenShare } from '../support/cpu-share.ts';
import { cpuSeconds, peakResidentBytes, resetPeak, residentBytes } from '../support/process-usage.ts';
import { percentile } from '../support/stats.ts';
import { lowerBound, planNodes, SLOWNESS } from './plan.ts';
import { counts, pullAll, type Pulled } from './pulls.ts';
import type { CrowdResult, NodeResult } from './result.ts';
import { startRuntime } from './runtimes.ts';
import { Sampler } from './sampler.ts';
import type { Member, Scene } from './scene.ts';
import type { NodeTraffic, RunningSystem, System } from './systems/system.ts';

/** A pull may take so many times what all nodes need when each fetches all from the registry, one after the other. */
const PATIENCE = 3;
const GRACE: number = 2 * MINUTE;

export async function runTurn(scene: Scene, system: System, turn: number): Promise<CrowdResult> {
  const { settings, network, registry, imageBytes, say, signal } = scene;
  const seed = settings.seed + turn - 1;
  const plan = planNodes(settings, imageBytes, seed);
  const members = network.nodes.map((place, index) => ({ place, plan: plan[index] as Member['plan'] }));
  const { link, registry: registryRate } = settings;
  for (const member of members) {
    await network.shape(member.place, link.bitsPerSecond / (member.plan.isSlow ? SLOWNESS : 1));
  }
  const began = performance.now();
  await using running = await system.start(scene, members);
  const startSeconds = (performance.now() - began) / SECOND;
  await using runtime = await startRuntime(scene, running, members);
  const idle = await memory(running, members, residentBytes);
  await forEachPid(running, members, resetPeak);
  await registry.accessLog.settled();
  registry.accessLog.clear();
  const centralBefore = await centralCpu(running);
  say(
    `turn ${turn}: ${system.name} is ready after ${startSeconds.toFixed(0)} s; ${members.length} nodes pull`,
  );
  await using sampler = await Sampler.start(scene, running, members);
  const cpuBefore = [...sampler.cpu];
  const machineBefore = await cpuTimes();
  const slowest = Math.min(link.bitsPerSecond / SLOWNESS, registryRate.bitsPerSecond / members.length);
  const limit = GRACE + PATIENCE * ((imageBytes * 8) / slowest) * SECOND;
  const pulled = await pullAll({ members, runtime, system: running, limit, signal });
  const machineAfter = await cpuTimes();
  await sampler.lookAtNodes();
  const wireBytes = await sampler.leftRegistry();
  await sampler[Symbol.asyncDispose]();
  const cpuCentral = (await centralCpu(running)) - centralBefore;
  await registry.accessLog.settled();
  const traffic = await Promise.all(members.map((_, index) => running.traffic(index)));
  const peaks = await memory(running, members, peakResidentBytes);
  const perNode = members.map((member, index) =>
    nodeResult(member, pulled[index] as Pulled, traffic[index], {
      connections: sampler.connections[index] ?? 0,
      rss: peaks[index] ?? null,
      fetched: system.name === 'registry' || system.name === 'proxy' ? imageBytes : 0,
      isFromRegistry: system.name === 'registry',
    }),
  );
  const cpu = sampler.cpu.reduce((sum, seconds, i) => sum + seconds - (cpuBefore[i] ?? 0), cpuCentral);
  const arrived = pulled.filter(({ completed }) => completed !== null).length;
  const accesses = registry.accessLog.matching('/v2/');
  const bound = lowerBound(settings, imageBytes, plan);
  const waited = pulled.filter((each, index) => counts(members[index] as Member, each));
  const makespan = Math.max(0, ...waited.map(({ completed }) => completed ?? 0));
  const own = waited.map(({ started, completed }) => (completed ?? 0) - (started ?? 0));
  const later = waited.filter((each) => (members[pulled.indexOf(each)]?.plan.wave ?? 0) > 0);
  const firstBytes = waited.flatMap(({ firstByte }) => firstByte ?? []);
  const registryBytes = accesses
    .filter(({ method }) => method === 'GET')
    .reduce((sum, { bytes }) => sum + bytes, 0);
  const reasons = pulled.flatMap(({ failure }, index) =>
    failure === undefined ? [] : [{ node: members[index]?.plan.name ?? '', reason: failure }],
  );
  const idleBytes = idle.filter((bytes) => bytes !== null);
  const peakBytes = [...peaks.filter((bytes) => bytes !== null), ...(await centralMemory(running))];
  return {
    system: system.name,
    nodes: members.length,
    turn,
    seed,
    image_bytes: imageBytes,
    lower_bound_s: bound,
    makespan_s: makespan,
    makespan_ratio: makespan / bound,
    p50_s: percentileOf(own, 50),
    p99_s: percentileOf(own, 99),
    later_p50_s: later.length === 0 ? null : percentileOf(later.map(ownSeconds), 50),
    first_byte_p50_s: percentileOf(firstBytes, 50),
    registry_bytes: registryBytes,
    registry_ratio: registryBytes / imageBytes,
    registry_wire_bytes: network.isShaped ? wireBytes : null,
    registry_requests: accesses.length,
    cross_zone_bytes: perNode.reduce((sum, node) => sum + node.cross_zone_bytes, 0),
    cpu_s_per_gib: arrived === 0 ? null : cpu / ((arrived * imageBytes) / GIB),
    cpu_busy: busyShare(machineBefore, machineAfter),
    cpu_stolen: stolenShare(machineBefore, machineAfter),
    start_s: startSeconds,
    known_s: running.knownSeconds,
    rss_idle_bytes: idleBytes.length === 0 ? null : percentile(idleBytes, 50),
    rss_max_bytes: peakBytes.length === 0 ? null : Math.max(...peakBytes),
    connections_max: Math.max(0, ...sampler.connections),
    died: members.filter(({ plan: { dies } }) => dies !== undefined).length,
    slow: members.filter(({ plan: { isSlow } }) => isSlow).length,
    failures: reasons.length,
    failure_reasons: reasons,
    versions: { ...running.versions, ...runtime.versions },
    per_node: perNode,
    registry_curve: sampler.curve,
  };
}

function nodeResult(
  { plan }: Member,
  { started, completed, firstByte }: Pulled,
  traffic: NodeTraffic | undefined,
  seen: {
    readonly connections: number;
    readonly rss: number | null;
    /** Bytes of a system without nodes of its own that tell. */
    readonly fetched: number;
    readonly isFromRegistry: boolean;
  },
): NodeResult {
  const fetched = completed === null ? 0 : seen.fetched;
  const untold = seen.isFromRegistry ? { peers: 0, registry: fetched } : { peers: fetched, registry: 0 };
  return {
    node: plan.name,
    zone: plan.zone,
    started_s: started,
    completed_s: completed,
    first_byte_s: firstByte,
    bytes: traffic?.bytes ?? untold,
    sent_bytes: traffic?.sentBytes ?? 0,
    cross_zone_bytes: traffic?.crossZoneBytes ?? 0,
    connections: seen.connections,
    rss_bytes: seen.rss,
  };
}

function ownSeconds({ started, completed }: Pulled): number {
  return (completed ?? 0) - (started ?? 0);
}

/** 0 where nothing arrived. */
function percentileOf(values: readonly number[], percent: number): number {
  return values.length === 0 ? 0 : percentile(values, percent);
}

async function forEachPid(
  system: RunningSystem,
  members: readonly Member[],
  work: (pid: number) => Promise<void>,
): Promise<void> {
  for (const index of members.keys()) for (const pid of system.pids(index)) await work(pid);
  for (const pid of system.central) await work(pid);
}

/** Of each node's processes together; null where it has none, or they died. */
async function memory(
  system: RunningSystem,
  members: readonly Member[],
  read: (pid: number) => Promise<number>,
): Promise<readonly (number | null)[]> {
  return Promise.all(
    members.map(async (_, index) => {
      const pids = system.pids(index);
      if (pids.length === 0) return null;
      const sizes = await Promise.all(pids.map((pid) => read(pid).catch(() => null)));
      return sizes.includes(null) ? null : sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
    }),
  );
}

function centralMemory({ central }: RunningSystem): Promise<readonly number[]> {
  return Promise.all(central.map((pid) => peakResidentBytes(pid)));
}

async function centralCpu({ central }: RunningSystem): Promise<number> {
  const seconds = await Promise.all(central.map((pid) => cpuSeconds(pid)));
  return seconds.reduce((sum, each) => sum + each, 0);
}
