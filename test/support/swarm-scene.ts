/**
 * A small cluster as in the field: nodes in network namespaces of their own, each with a real containerd and a weir
 * node, all with one cluster key, and a registry at the far end of a shaped link.
 */
import { writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { MIB, MINUTE } from '../../src/util/clock.ts';
import { Containerd } from './containerd.ts';
import type { CriCredentials, PullOutcome } from './cri.ts';
import type { TestImage } from './images.ts';
import { Lan, type LanHost } from './lan.ts';
import { Registry, type RegistryOptions } from './registry.ts';
import { TempDir } from './temp.ts';
import { knows } from './weir-cluster.ts';
import { WeirNode } from './weir.ts';

/** Megabits per second. The registry's link is slower than the nodes', so everybody waits for the registry. */
export const REGISTRY_MBIT = 50;
export const NODE_MBIT = 60;

const CONTROL_PORT = 4772;
const DATA_PORT = 4773;
const BLOBS = '/blobs/';
/** Milliseconds: longer than any pull takes if a fault occurs and is mended. */
const PULL_TIMEOUT = 2 * MINUTE;
/** Milliseconds between two checks. */
const LOOK = 20;

export interface SwarmSceneOptions {
  /** Folder of the registry's content. */
  readonly storage: string;
  /** How the registry guards it. */
  readonly guard?: Pick<RegistryOptions, 'users' | 'tokenAuth'>;
  readonly lan?: Lan;
  /** Default 5. */
  readonly nodes?: number;
}

export interface SwarmNode {
  /** `node-1`. */
  readonly name: string;
  readonly host: LanHost;
  readonly containerd: Containerd;
  readonly weir: WeirNode;
}

export class SwarmScene implements AsyncDisposable {
  readonly lan: Lan;
  readonly registry: Registry;
  readonly nodes: readonly SwarmNode[];
  readonly #registryHost: LanHost;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    lan: Lan,
    registry: Registry,
    registryHost: LanHost,
    nodes: readonly SwarmNode[],
    stack: AsyncDisposableStack,
  ) {
    this.lan = lan;
    this.registry = registry;
    this.#registryHost = registryHost;
    this.nodes = nodes;
    this.#stack = stack;
  }

  /** All nodes know each other when this resolves. */
  static async create({ storage, guard, lan: given, nodes = 5 }: SwarmSceneOptions): Promise<SwarmScene> {
    await using stack = new AsyncDisposableStack();
    const lan = given ?? stack.use(await Lan.create());
    const registryHost = await lan.addHost(`${REGISTRY_MBIT}mbit`);
    const within = registryHost.namespace.enter;
    const listen = `${registryHost.address}:5000`;
    const registry = stack.use(await Registry.start({ storage, listen, within, ...guard }));
    const dir = stack.use(await TempDir.create('swarm'));
    await writeFile(dir.join('key'), 'the key of a cluster that is under test');
    const hosts: LanHost[] = [];
    for (let i = 0; i < nodes; i++) hosts.push(await lan.addHost(`${NODE_MBIT}mbit`));
    const bootstrap = hosts.map(({ address }) => `${address}:${CONTROL_PORT}`).join(',');
    const starting = hosts.map((host, i) =>
      startNode(stack, `node-${i + 1}`, host, registry, { key: dir.join('key'), bootstrap }),
    );
    // If one node fails to start, those that start a moment later must not be left behind.
    await Promise.allSettled(starting);
    const scene = new SwarmScene(lan, registry, registryHost, await Promise.all(starting), stack.move());
    try {
      await scene.acquainted();
      return scene;
    } catch (error) {
      await scene[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The node with this index. */
  node(index: number): SwarmNode {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`there is no node ${index}`);
    return node;
  }

  /** Waits until each of these nodes counts all of them as live members. */
  async acquainted(): Promise<void> {
    await Promise.all(this.nodes.map(({ weir }) => knows(weir, this.nodes.length)));
  }

  /** A CRI pull of `repository:tag`. */
  async pull(node: SwarmNode, path: string, auth?: CriCredentials): Promise<PullOutcome> {
    const options = { timeout: PULL_TIMEOUT, ...(auth && { auth }) };
    return node.containerd.cri.pull(`${this.registry.host}/${path}`, options);
  }

  /** Bytes that have left the registry's interface, without the headers of TCP/IP. */
  async leftRegistry(): Promise<number> {
    return this.lan.sent(this.#registryHost);
  }

  /** Waits until this many more bytes have left the registry than `since`. */
  async leaves(bytes: number, since: number): Promise<void> {
    while ((await this.leftRegistry()) - since < bytes) await delay(LOOK);
  }

  /** Whether the nodes together have every chunk of the image. */
  async hasAll({ blobs }: TestImage): Promise<boolean> {
    const reports = await Promise.all(this.nodes.map(({ weir }) => weir.status()));
    return blobs.every(({ digest }) => {
      const transfers = reports.flatMap((report) =>
        report.transfers.filter((each) => each.digest === digest),
      );
      if (transfers.some(({ state }) => state === 'complete')) return true;
      const bitmaps = transfers.map(({ bitmap }) => Buffer.from(bitmap, 'base64'));
      const isPresent = (chunk: number): boolean =>
        bitmaps.some((bits) => ((bits[chunk >> 3] ?? 0) & (0x80 >> (chunk & 7))) !== 0);
      const { chunks = Infinity } = transfers[0] ?? {};
      for (let chunk = 0; chunk < chunks; chunk++) if (!isPresent(chunk)) return false;
      return true;
    });
  }

  /** Bytes of blobs that the registry says it has sent. */
  async blobBytes(): Promise<number> {
    await this.registry.accessLog.settled();
    return this.registry.accessLog.bytes(BLOBS);
  }

  /** For failures and measurements: reasons for requests to the registry, blamed peers, requests past the nodes. */
  story(): string {
    const direct = this.registry.accessLog
      .matching(BLOBS, 'GET')
      .filter(({ userAgent }) => userAgent.startsWith('containerd'));
    const lines = this.nodes.map(({ name, weir }) => `${name}: ${tally(weir.log)}`);
    const bypass = direct.reduce((sum, { bytes }) => sum + bytes, 0);
    const twice = fetchedTwice(this.nodes);
    return [...lines, ...twice, `past the mirrors: ${direct.length} requests, ${inMiB(bypass)}`].join('\n');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** The least milliseconds in which the image can reach all nodes: by the registry's link, or by a node's. */
export function lowerBound(image: TestImage): number {
  return (sizeOf(image) * 8) / (Math.min(REGISTRY_MBIT, NODE_MBIT) * 1000);
}

/** Bytes of all blobs. */
export function sizeOf(image: TestImage): number {
  return image.blobs.reduce((sum, { size }) => sum + size, 0);
}

export function inMiB(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

interface Membership {
  /** Path of the cluster key. */
  readonly key: string;
  readonly bootstrap: string;
}

async function startNode(
  stack: AsyncDisposableStack,
  name: string,
  host: LanHost,
  registry: Registry,
  { key, bootstrap }: Membership,
): Promise<SwarmNode> {
  const within = host.namespace.enter;
  const settings = {
    'node.name': name,
    'cluster.key-file': key,
    'cluster.listen': `${host.address}:${CONTROL_PORT}`,
    'cluster.bootstrap': bootstrap,
    'cluster.mdns': 'off',
    'mirror.hang-timeout': '0s', // tests freeze nodes, which must live on afterwards
    'transfer.listen': `${host.address}:${DATA_PORT}`,
  };
  const registries = { [registry.host]: { 'plain-http': true } };
  const containerd = stack.use(await Containerd.start({ within }));
  const weir = stack.use(await WeirNode.start({ settings, registries, within }));
  await containerd.writeHosts({ registry: registry.host, server: registry.url, mirrors: [weir.url] });
  return { name, host, containerd, weir };
}

/** Chunks that more than one node asked the registry for: time, node, and reason. */
function fetchedTwice(nodes: readonly SwarmNode[]): readonly string[] {
  const asked = new Map<string, { readonly time: number; readonly told: string }[]>();
  for (const { name, weir } of nodes) {
    for (const { msg, digest, first = 0, count = 0, reason, time } of entriesOf(weir.log)) {
      if (msg !== 'chunks requested from upstream') continue;
      for (let chunk = first; chunk < first + count; chunk++) {
        const key = `${digest?.slice('sha256:'.length, 'sha256:'.length + 6)} chunk ${chunk}`;
        const at = Date.parse(String(time)) || Number(time);
        asked.set(key, [...(asked.get(key) ?? []), { time: at, told: `${name} ${reason}` }]);
      }
    }
  }
  const begin = Math.min(...[...asked.values()].flat().map(({ time }) => time));
  return [...asked]
    .filter(([, times]) => times.length > 1)
    .map(([key, times]) => {
      const told = times.toSorted((a, b) => a.time - b.time);
      return `twice: ${key}: ${told.map(({ time, told: who }) => `${((time - begin) / 1000).toFixed(2)} ${who}`).join(', ')}`;
    });
}

interface LogEntry {
  readonly msg?: string;
  readonly time?: string | number;
  readonly digest?: string;
  readonly first?: number;
  readonly count?: number;
  readonly reason?: string;
  /** The log entry on a suspected peer. */
  readonly detail?: string;
  readonly name?: string;
  readonly route?: string;
  readonly seconds?: number;
  readonly err?: { readonly message: string };
}

function* entriesOf(log: string): Generator<LogEntry> {
  for (const line of log.split('\n')) if (line.startsWith('{')) yield JSON.parse(line) as LogEntry;
}

/** Counts of the entries of a node's log about its sources. */
function tally(log: string): string {
  const counts = new Map<string, number>();
  const count = (what: string, by: number): void => void counts.set(what, (counts.get(what) ?? 0) + by);
  for (const entry of entriesOf(log)) {
    if (entry.msg === 'chunks requested from upstream') count(`${entry.reason} chunks`, entry.count ?? 1);
    if (entry.msg === 'a request for chunks to upstream failed')
      count(`fetch failed: ${entry.err?.message}`, 1);
    if (entry.err !== undefined && entry.route !== undefined)
      count(`${entry.msg}: ${entry.route} after ${entry.seconds} s: ${entry.err.message}`, 1);
    if (entry.msg === 'peer suspected') count(`${entry.name} blamed (${entry.detail ?? entry.reason})`, 1);
  }
  return [...counts].map(([what, times]) => `${times} ${what}`).join(', ');
}
