/** One turn of one system: it is started, all nodes pull, and they are observed. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MINUTE, SECOND } from '../../src/util/clock.ts';
import { busyShare, cpuTimes, stolenShare } from '../support/cpu-share.ts';
import { DEFAULT_LOG_LEVEL, type CrowdSettings } from './options.ts';
import { difference, resultOf, type Seen } from './outcome.ts';
import { planNodes, SLOWNESS } from './plan.ts';
import { pullAll, type Pulled } from './pulls.ts';
import type { CrowdResult } from './result.ts';
import { RUNTIME_OF } from './runtimes/choose.ts';
import type { RunningRuntime } from './runtimes/runtime.ts';
import { Sampler } from './sampler.ts';
import type { Member, Scene } from './scene.ts';
import type { NodeTraffic, RunningSystem, System } from './systems/system.ts';
import { calm, warmUp } from './warm-up.ts';
import { centralCpuOf, centralPeaksOf, cpuOf, peaksOf, privateOf, residentOf, resetPeaks } from './usage.ts';

/** A pull may take this multiple of the time in which all nodes, one by one, could fetch all from the registry. */
const PATIENCE = 3;
const GRACE = 2 * MINUTE;
const BITS = 8;

export async function runTurn(scene: Scene, system: System, turn: number): Promise<CrowdResult> {
  const { settings, imageBytes, say } = scene;
  const seed = settings.seed + turn - 1;
  const members = await placeNodes(scene, seed);
  await using runtime = await RUNTIME_OF[settings.runtime].start(scene, members);
  const began = performance.now();
  await using running = await system.start(scene, members, runtime);
  const startSeconds = (performance.now() - began) / SECOND;
  await runtime.connect(running);
  const idle = {
    startCpuSeconds: await cpuOf(running, members.length),
    idleBytes: await residentOf(running, members.length),
    idlePrivateBytes: await privateOf(running, members.length),
  };
  const cold = await warmUp(scene, runtime, members.length, longestPull(scene));
  // If nothing but the registry runs, nothing has to come to rest.
  if (idle.startCpuSeconds > 0) await calm(scene.signal);
  if (cold > 0) say(`  ${cold} pulls before the turn failed`);
  say(
    `turn ${turn}: ${system.name} is ready after ${startSeconds.toFixed(0)} s; ${members.length} nodes pull`,
  );
  const seen = await observe(scene, members, running, runtime);
  await keepLogs(scene, `${system.name}-${turn}`, members, running, runtime, seen.pulled);
  const isToldByAgent = running.mirror(0) !== undefined && system.passesUserAgentOn !== true;
  return resultOf({
    system: system.name,
    addresses: scene.network.isShaped ? members.map(({ place }) => place.address) : undefined,
    untold: system.untold,
    runtimeAgent: isToldByAgent ? runtime.userAgent : undefined,
    turn,
    seed,
    settings,
    imageBytes,
    plan: members.map(({ plan }) => plan),
    startSeconds,
    knownSeconds: running.knownSeconds,
    versions: { ...running.versions, ...runtime.versions },
    ...idle,
    ...seen,
  });
}

async function placeNodes({ settings, network, imageBytes }: Scene, seed: number): Promise<Member[]> {
  const plan = planNodes(settings, imageBytes, seed);
  const members = network.nodes.map((place, index) => ({ place, plan: plan[index] as Member['plan'] }));
  for (const member of members) {
    await network.shape(member.place, settings.link.bitsPerSecond / (member.plan.isSlow ? SLOWNESS : 1));
  }
  return members;
}

async function observe(
  scene: Scene,
  members: readonly Member[],
  system: RunningSystem,
  runtime: RunningRuntime,
): Promise<Seen> {
  const { registry, network, wares, signal } = scene;
  await resetPeaks(system, members.length);
  await registry.accessLog.settled();
  registry.accessLog.clear();
  const centralBefore = await centralCpuOf(system);
  const before = await trafficOf(system, members);
  const linksBefore = await overLinks(members);
  await using sampler = await Sampler.create(scene, system, members);
  const cpuBefore = [...sampler.cpu];
  const mainCpuBefore = [...sampler.mainCpu];
  const hasNodes = members.some((_, node) => system.pids(node).length > 0);
  await loopDelaysOf(system, members);
  const machineBefore = await cpuTimes();
  const begin = performance.now();
  sampler.run(begin);
  const limit = longestPull(scene);
  const pulled = await pullAll({ members, wares, runtime, system, limit, begin, signal });
  const machineAfter = await cpuTimes();
  const loopDelays = await loopDelaysOf(system, members);
  await sampler.end();
  const linkBytes = network.isShaped ? (await overLinks(members)) - linksBefore : null;
  const wireBytes = network.isShaped ? await sampler.leftRegistry() : null;
  const centralCpu = (await centralCpuOf(system)) - centralBefore;
  await registry.accessLog.settled();
  return {
    pulled,
    peakBytes: await peaksOf(system, members.length),
    centralPeakBytes: await centralPeaksOf(system),
    traffic: (await trafficOf(system, members)).map((after, node) => difference(after, before[node])),
    connections: sampler.connections,
    registryConnections: sampler.registryConnections,
    accesses: registry.accessLog.matching('/v2/'),
    wireBytes,
    linkBytes,
    cpuSeconds: centralCpu + increase(sampler.cpu, cpuBefore),
    mainCpuSeconds: hasNodes ? increase(sampler.mainCpu, mainCpuBefore) : null,
    loopDelays,
    cpuBusy: busyShare(machineBefore, machineAfter),
    cpuStolen: stolenShare(machineBefore, machineAfter),
    curve: sampler.curve,
  };
}

/** Of all nodes together. */
function increase(after: readonly number[], before: readonly number[]): number {
  return after.reduce((sum, each, node) => sum + each - (before[node] ?? 0), 0);
}

/** Bytes that have come over the links of all nodes; 0 on loopback, which has none. */
async function overLinks(members: readonly Member[]): Promise<number> {
  const each = await Promise.all(members.map(({ place }) => place.received()));
  return each.reduce<number>((sum, bytes) => sum + (bytes ?? 0), 0);
}

function trafficOf(
  system: RunningSystem,
  members: readonly Member[],
): Promise<readonly (NodeTraffic | undefined)[]> {
  return Promise.all(members.map((_, index) => system.traffic(index)));
}

/** Milliseconds by which the event loops of nodes that tell were late since the last call: 99 of 100 looks. */
async function loopDelaysOf(system: RunningSystem, members: readonly Member[]): Promise<readonly number[]> {
  const told = await Promise.all(members.map(async (_, node) => system.loopDelay?.(node)));
  return told.filter((delay) => delay !== undefined);
}

/** Whole milliseconds after which a pull counts as hung. */
function longestPull({ settings: { link, registry, nodes }, imageBytes }: Scene): number {
  const slowest = Math.min(link.bitsPerSecond / SLOWNESS, registry.bitsPerSecond / nodes);
  return Math.ceil(GRACE + PATIENCE * ((imageBytes * BITS) / slowest) * SECOND);
}

/** Keeps logs of nodes whose pull failed or went past the mirror; of all nodes if a log level was given. */
async function keepLogs(
  { settings, out, say }: Scene,
  name: string,
  members: readonly Member[],
  system: RunningSystem,
  runtime: RunningRuntime,
  pulled: readonly Pulled[],
): Promise<void> {
  const isAsked = asksForLogs(settings);
  const wanted = members
    .map((_, index) => index)
    .filter((index) => isAsked || pulled[index]?.failure || (pulled[index]?.fallbacks.length ?? 0) > 0);
  if (wanted.length === 0) return;
  const folder = join(out, 'logs');
  await mkdir(folder, { recursive: true });
  for (const index of wanted) {
    const file = join(folder, `${name}-${members[index]?.plan.name}`);
    for (const [kind, log] of [
      ['log', system.log(index)],
      [`${settings.runtime}.log`, runtime.log(index)],
    ] as const) {
      if (log !== '') await writeFile(`${file}.${kind}`, `${log}\n`);
    }
  }
  say(`  logs of ${wanted.length} nodes are in ${folder}`);
}

function asksForLogs({ logLevel }: CrowdSettings): boolean {
  return logLevel !== DEFAULT_LOG_LEVEL;
}
