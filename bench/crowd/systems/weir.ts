/**
 * `weir`: one `weir node` on each node, one cluster key, settings as users get them but for addresses, the name and the
 * zone. The others bootstrap at the first three, as a headless Service would name them.
 */
import { writeFile } from 'node:fs/promises';
import { scheduler } from 'node:timers/promises';
import { MINUTE, SECOND } from '../../../src/util/clock.ts';
import { Metrics } from '../../../test/support/metrics.ts';
import { TempDir } from '../../../test/support/temp.ts';
import { WeirNode, type NodeProgram } from '../../../test/support/weir.ts';
import { installInto } from '../../support/installed.ts';
import { askLoopDelay, tellsLoopDelay } from '../../support/loop-delay-file.ts';
import { inParallel } from '../../support/parallel.ts';
import type { RunningRuntime } from '../runtimes/runtime.ts';
import type { Member, Scene } from '../scene.ts';
import type { NodeTraffic, RunningSystem, System } from './system.ts';

const MIRROR_PORT = 4770;
const ADMIN_PORT = 4771;
const CONTROL_PORT = 4772;
const DATA_PORT = 4773;
const BOOTSTRAP_NODES = 3;
/** Nodes that start at a time: each needs a core for a second. */
const STARTING = 2;
/** Nodes that are asked at a time for their members. */
const ASKED = 8;
/** Milliseconds between two questions. */
const LOOK = 250;
const READY_WITHIN = 2 * MINUTE;
const KNOWN_WITHIN = 5 * MINUTE;

type LoopFile = (node: number) => string;

class RunningWeir implements RunningSystem {
  readonly versions: Readonly<Record<string, string>>;
  readonly knownSeconds: number;
  readonly central: readonly number[] = [];
  readonly #nodes: readonly WeirNode[];
  /** Where each node tells the delay of its event loop. */
  readonly #loopFile: LoopFile;
  readonly #stack: AsyncDisposableStack;

  constructor(
    { version, known }: { readonly version: string; readonly known: number },
    nodes: readonly WeirNode[],
    loopFile: LoopFile,
    stack: AsyncDisposableStack,
  ) {
    this.versions = { weir: version };
    this.knownSeconds = known;
    this.#nodes = nodes;
    this.#loopFile = loopFile;
    this.#stack = stack;
  }

  mirror(node: number): URL {
    return new URL(this.#node(node).url);
  }

  pids(node: number): readonly number[] {
    return [this.#node(node).pid];
  }

  async traffic(node: number): Promise<NodeTraffic | undefined> {
    const metrics = await metricsOf(this.#node(node)).catch(() => undefined);
    if (metrics === undefined) return undefined; // it is dead
    const peers = (direction: string, zone?: string): number =>
      metrics.sum('weir_peer_bytes_total', { direction, ...(zone === undefined ? {} : { zone }) });
    return {
      bytes: { peers: peers('in'), registry: metrics.sum('weir_upstream_bytes_total') },
      sentBytes: peers('out'),
      crossZoneBytes: peers('in', 'other'),
    };
  }

  async loopDelay(node: number): Promise<number | undefined> {
    const told = await askLoopDelay(this.#node(node).pid, this.#loopFile(node)).catch(() => undefined);
    return told?.p99;
  }

  kill(node: number): Promise<void> {
    return this.#node(node).kill();
  }

  log(node: number): string {
    return this.#node(node).log;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }

  #node(index: number): WeirNode {
    const node = this.#nodes[index];
    if (node === undefined) throw new Error(`there is no node ${index}`);
    return node;
  }
}

async function startWeir(
  scene: Scene,
  members: readonly Member[],
  runtime: RunningRuntime,
): Promise<RunningSystem> {
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(await TempDir.create('key'));
  await writeFile(dir.join('key'), 'the key of a cluster that is measured');
  const program = await installInto(dir.join('program'));
  const nodes: WeirNode[] = [];
  const loopFile: LoopFile = (node) => dir.join(`loop-${node}`);
  stack.defer(async () => void (await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()))));
  const bootstrap: string[] = [];
  const start = async (member: Member, index: number): Promise<void> => {
    scene.signal.throwIfAborted();
    const content = runtime.containerd(index)?.content;
    const node = await startNode(scene, member, {
      program,
      key: dir.join('key'),
      bootstrap,
      content,
      loopFile: loopFile(index),
    });
    nodes[index] = node;
    if (bootstrap.length < BOOTSTRAP_NODES) bootstrap.push(controlAddress(node));
  };
  // All others bootstrap at the first ones, so these start first.
  const first = members.slice(0, BOOTSTRAP_NODES);
  for (const [index, member] of first.entries()) await start(member, index);
  await inParallel(members.slice(BOOTSTRAP_NODES), STARTING, (member, index) =>
    start(member, BOOTSTRAP_NODES + index),
  );
  const started = performance.now();
  await inParallel(nodes, ASKED, (node) => knows(node, members.length, scene.signal));
  const known = (performance.now() - started) / SECOND;
  const version = await versionOf(nodes[0] as WeirNode);
  return new RunningWeir({ version, known }, nodes, loopFile, stack.move());
}

interface NodeWish {
  readonly program: NodeProgram;
  /** Path of the cluster's key. */
  readonly key: string;
  /** Control addresses of nodes that run. */
  readonly bootstrap: readonly string[];
  /** Content folder of the node's containerd, if it has one: content is served from there, and not kept twice. */
  readonly content: string | undefined;
  readonly loopFile: string;
}

function startNode(
  { network, registry, settings }: Scene,
  { place, plan }: Member,
  { program, key, bootstrap, content, loopFile }: NodeWish,
): Promise<WeirNode> {
  const port = (number: number): number => (network.isShaped ? number : 0);
  return WeirNode.start({
    program,
    settings: {
      'node.name': plan.name,
      'log.level': settings.logLevel,
      'store.runtime-content': content ?? 'none',
      'mirror.listen': `${place.reach}:${port(MIRROR_PORT)}`,
      'admin.listen': `${place.reach}:${port(ADMIN_PORT)}`,
      'cluster.key-file': key,
      'cluster.listen': `${place.address}:${port(CONTROL_PORT)}`,
      'cluster.bootstrap': bootstrap.join(','),
      'cluster.mdns': 'off',
      'transfer.listen': `${place.address}:${port(DATA_PORT)}`,
    },
    registries: { [registry.host]: { 'plain-http': true } },
    env: { ...tellsLoopDelay(loopFile), WEIR_NODE_ZONE: plan.zone }, // an empty zone counts as not set
    within: place.within,
    readyWithin: READY_WITHIN,
  });
}

/** `HOST:PORT` of its control plane. */
function controlAddress(node: WeirNode): string {
  const line = node.log.split('\n').find((each) => each.includes('"msg":"cluster listening"')) ?? '{}';
  const { addresses: [address = ''] = [] } = JSON.parse(line) as { addresses?: string[] };
  const [, , host, , port] = address.split('/');
  return `${host}:${port}`;
}

async function knows(node: WeirNode, members: number, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + KNOWN_WITHIN;
  for (;;) {
    const known = (await metricsOf(node)).sum('weir_cluster_members');
    if (known >= members) return;
    if (performance.now() > deadline) throw node.failure(`it knows ${known} members, not ${members}`);
    await scheduler.wait(LOOK, { signal });
  }
}

/** In a shaped network the bench asks from another host, which gets only metrics. */
async function metricsOf(node: WeirNode): Promise<Metrics> {
  const response = await fetch(`${node.adminUrl}/metrics`);
  return new Metrics(await response.text());
}

async function versionOf(node: WeirNode): Promise<string> {
  const names = [...(await metricsOf(node)).samples.keys()].join('\n');
  return /^weir_build_info\{.*version="([^"]*)"/m.exec(names)?.[1] ?? 'unknown';
}

export const weir: System = { name: 'weir', untold: 'peers', start: startWeir };
