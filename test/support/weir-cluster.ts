/**
 * Several weir nodes on loopback that have one key and know each other; the others bootstrap at the first one.
 */
import { writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { pullImage, type PulledImage, type PullOptions } from '../../src/cli/client/pull-image.ts';
import { MINUTE } from '../../src/util/clock.ts';
import { parseImageReference } from '../../src/oci/reference.ts';
import { TempDir } from './temp.ts';
import { WeirNode, type WeirOptions } from './weir.ts';

/** Nodes that start at a time: each needs a core for a second. */
const STARTING = 3;
/** Milliseconds between two checks. */
const LOOK = 100;
const KNOWN_WITHIN = MINUTE;

export interface WeirClusterOptions {
  /** Options of all nodes; the index is for differences. */
  readonly node?: (index: number) => WeirOptions;
  readonly key?: string;
  /** `127.0.0.1:PORT` of registries that all nodes have configured: members lead each other to no other loopback. */
  readonly registries?: readonly string[];
}

export class WeirCluster implements AsyncDisposable {
  /** Nodes in the order of their starts. */
  readonly nodes: WeirNode[] = [];
  /** `127.0.0.1:PORT` at which the first node is found. */
  readonly bootstrap: string;
  readonly keyFile: string;
  readonly #dir: TempDir;
  readonly #options: WeirClusterOptions;

  private constructor(dir: TempDir, options: WeirClusterOptions, keyFile: string, first: WeirNode) {
    this.#dir = dir;
    this.#options = options;
    this.keyFile = keyFile;
    this.nodes.push(first);
    this.bootstrap = controlAddress(first);
  }

  static async start(count: number, options: WeirClusterOptions = {}): Promise<WeirCluster> {
    const dir = await TempDir.create('cluster');
    const keyFile = dir.join('key');
    await writeFile(keyFile, options.key ?? 'the key of a cluster that is under test');
    const first = await startMember(
      { 'cluster.key-file': keyFile },
      configured(options),
      options.node?.(0) ?? {},
    );
    const cluster = new WeirCluster(dir, options, keyFile, first);
    try {
      for (let left = count - 1; left > 0; left -= STARTING) await cluster.add(Math.min(left, STARTING));
      await cluster.settled();
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Starts further members; they may not know everybody yet. */
  async add(count = 1, options: WeirOptions = {}): Promise<readonly WeirNode[]> {
    const from = this.nodes.length;
    const member = { 'cluster.key-file': this.keyFile, 'cluster.bootstrap': this.bootstrap };
    const starting = Array.from({ length: count }, (_, i) =>
      startMember(member, configured(this.#options), this.#options.node?.(from + i) ?? {}, options),
    );
    const started = await Promise.allSettled(starting);
    for (const one of started) if (one.status === 'fulfilled') this.nodes.push(one.value);
    for (const one of started) if (one.status === 'rejected') throw one.reason;
    return this.nodes.slice(from);
  }

  /** The node with this index. */
  node(index: number): WeirNode {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`there is no node ${index}`);
    return node;
  }

  /** Waits until each of these nodes counts this many members. */
  async settled(members = this.nodes.length, nodes: readonly WeirNode[] = this.nodes): Promise<void> {
    await Promise.all(nodes.map((node) => knows(node, members)));
  }

  /** The sum over all nodes. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const all = await Promise.all(this.nodes.map((node) => node.metrics()));
    return all.reduce((sum, metrics) => sum + metrics.sum(name, labels), 0);
  }

  /** Reasons for upstream requests and for suspected peers, for the message of a failed test. */
  async account(): Promise<string> {
    const all = await Promise.all(this.nodes.map((node) => node.metrics()));
    const sums = new Map<string, number>();
    for (const { samples } of all) {
      for (const [key, value] of samples) {
        if (
          value > 0 &&
          /^weir_(swarm_upstream_requests|peer_suspicions|transfer_requests|transfer_refused)_total/.test(key)
        ) {
          sums.set(key, (sums.get(key) ?? 0) + value);
        }
      }
    }
    return [...sums].map(([key, value]) => `${key} ${value}`).join(', ');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node[Symbol.asyncDispose]()));
    await this.#dir[Symbol.asyncDispose]();
  }
}

/** Waits until the node counts this many live members, with itself. */
export async function knows(node: WeirNode, members: number): Promise<void> {
  const deadline = Date.now() + KNOWN_WITHIN;
  for (;;) {
    const { cluster } = await node.status();
    if (cluster.members === members) return;
    if (Date.now() > deadline) throw node.failure(`it knows ${cluster.members} members, not ${members}`);
    await delay(LOOK);
  }
}

/** `127.0.0.1:PORT` of the node's control plane. */
export function controlAddress(node: WeirNode): string {
  const [address = ''] = listening(node, 'cluster listening') as readonly string[];
  const [, , host, , port] = address.split('/');
  return `${host}:${port}`;
}

/** The addresses in the node's log; the newest, if it was started several times. */
export function listening(
  node: WeirNode,
  message: 'cluster listening' | 'transfer listening',
): readonly unknown[] {
  const line = node.log.split('\n').findLast((each) => each.includes(`"msg":"${message}"`));
  if (line === undefined) return [];
  return (JSON.parse(line) as { addresses: unknown[] }).addresses;
}

/** Pulls an image through a node as a runtime does; every digest is checked. */
export function pullThrough(
  node: WeirNode,
  image: string,
  options: Partial<PullOptions> = {},
): Promise<PulledImage> {
  return pullImage({ image: parseImageReference(image), mirror: new URL(node.url), ...options });
}

/**
 * Settings of all nodes under test. A dozen of them share the cores of one machine with its other work: a node that waits
 * for its turn must not send its client away meanwhile.
 */
const COMMON = {
  'cluster.mdns': 'off',
  'mirror.first-byte-timeout': '60s',
  'mirror.stall-timeout': '60s',
  'mirror.hang-timeout': '0s', // tests freeze nodes, and dozens of watchdogs would take memory from each other
};

function configured({ registries = [] }: WeirClusterOptions): WeirOptions {
  return { registries: Object.fromEntries(registries.map((host) => [host, {}])) };
}

/** Later options win over earlier ones. */
function startMember(
  settings: Readonly<Record<string, string>>,
  ...options: readonly WeirOptions[]
): Promise<WeirNode> {
  const all: WeirOptions = Object.assign({}, ...options);
  return WeirNode.start({
    ...all,
    settings: Object.assign({ ...COMMON }, settings, ...options.map((each) => each.settings)),
    registries: Object.assign({}, ...options.map((each) => each.registries)),
    env: Object.assign({}, ...options.map((each) => each.env)),
  });
}
