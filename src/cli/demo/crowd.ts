/**
 * The demo's nodes: real processes in one cluster, each with its own data folder and shaped link. They start and stop
 * in parallel, and none outlives the demo.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { KIB, MILLISECOND, SECOND, systemClock } from '../../util/clock.ts';
import { toWeirError, WeirError } from '../../util/errors.ts';
import { AdminClient } from '../../status/admin-client.ts';
import type { StatusReport } from '../../status/status-report.ts';
import { ChildNode } from './child.ts';

/** Milliseconds until all nodes must know each other; gossip takes about one second. */
const ACQUAINTANCE_TIMEOUT = 30 * SECOND;
const ACQUAINTANCE_INTERVAL = 100 * MILLISECOND;
/** Nodes that start at one time, per processor. Loading takes CPU, so more at once would not be faster. */
const STARTS_PER_CPU = 2;
const KEY_BYTES = 32;
/** Only the user may read the cluster key. */
const KEY_MODE = 0o600;

export interface CrowdOptions {
  /** Parent of the data folders and of the key. */
  readonly directory: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Further arguments of all nodes. */
  readonly arguments: readonly string[];
  /** Bytes per second of each node's link, either way; undefined: no limit. */
  readonly link: number | undefined;
  readonly signal: AbortSignal;
}

export interface DemoNode {
  readonly name: string;
  readonly child: ChildNode;
  readonly admin: AdminClient;
}

export class Crowd implements AsyncDisposable {
  readonly #options: CrowdOptions;
  readonly #keyFile: string;
  readonly #children: ChildNode[] = [];
  readonly #nodes: DemoNode[] = [];
  /** One listener for all nodes: Node.js warns of more than ten. */
  readonly #onExit = (): void => {
    for (const child of this.#children) child.kill();
  };

  private constructor(options: CrowdOptions) {
    this.#options = options;
    this.#keyFile = join(options.directory, 'cluster.key');
    process.prependOnceListener('exit', this.#onExit); // before their folders are removed
  }

  static async create(options: CrowdOptions): Promise<Crowd> {
    const crowd = new Crowd(options);
    await writeFile(crowd.#keyFile, `${randomBytes(KEY_BYTES).toString('hex')}\n`, { mode: KEY_MODE });
    return crowd;
  }

  get nodes(): readonly DemoNode[] {
    return this.#nodes;
  }

  /** Starts nodes with these names. The very first one starts alone, as the others join through it. */
  async start(names: readonly string[]): Promise<readonly DemoNode[]> {
    const before = this.#nodes.length;
    const queue = [...names];
    const first = before === 0 ? queue.shift() : undefined;
    if (first !== undefined) this.#nodes.push(await this.#startOne(first, this.#options.signal));
    const failed = new AbortController(); // the first failure ends the other starts
    const signal = AbortSignal.any([this.#options.signal, failed.signal]);
    const started = new Map<string, DemoNode>();
    const work = async (): Promise<void> => {
      for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
        started.set(name, await this.#startOne(name, signal));
      }
    };
    const workers = Array.from({ length: STARTS_PER_CPU * availableParallelism() }, () =>
      work().catch((error: unknown) => failed.abort(toWeirError(error))),
    );
    await Promise.all(workers);
    signal.throwIfAborted();
    for (const name of names) {
      const node = started.get(name);
      if (node !== undefined) this.#nodes.push(node);
    }
    return this.#nodes.slice(before);
  }

  /** Resolves when each node knows all others. @throws WeirError `internal`, naming those that do not */
  async untilAcquainted(): Promise<void> {
    const { signal } = this.#options;
    const deadline = systemClock.monotonic() + ACQUAINTANCE_TIMEOUT;
    for (;;) {
      const counts = await Promise.all(this.#nodes.map((node) => this.#membersOf(node)));
      if (counts.every((count) => count === this.#nodes.length)) return;
      if (systemClock.monotonic() > deadline) {
        const told = this.#nodes.map(
          ({ name, child }, index) => `  ${name} knows ${counts[index] ?? 'none'}; ${child.describe()}`,
        );
        throw new WeirError('internal', `the nodes do not know each other:\n${told.join('\n')}`);
      }
      await systemClock.sleep(ACQUAINTANCE_INTERVAL, { signal });
    }
  }

  /** The status of each node, in order; undefined for a node that does not answer. */
  async statuses(): Promise<readonly (StatusReport | undefined)[]> {
    return await Promise.all(this.#nodes.map((node) => statusOf(node, this.#options.signal)));
  }

  /** Stops all. @returns the problems of their ends */
  async stop(): Promise<readonly string[]> {
    const problems: string[] = [];
    const stopOne = async ({ name, child }: DemoNode): Promise<void> => {
      const wasRunning = child.isRunning;
      const ended = await child.stop();
      if (!wasRunning) problems.push(`${name} had ended by itself with ${ended}${child.log()}`);
      else if (ended !== 0) problems.push(`${name} ended with ${ended}${child.log()}`);
    };
    await Promise.all(this.#nodes.map(stopOne));
    return problems;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#nodes.map(({ admin }) => admin[Symbol.asyncDispose]()));
    await Promise.all(this.#children.map((child) => child.stop()));
    process.off('exit', this.#onExit);
  }

  async #startOne(name: string, signal: AbortSignal): Promise<DemoNode> {
    const { env, link } = this.#options;
    signal.throwIfAborted();
    const flags = [
      ['--data-dir', join(this.#options.directory, name)],
      ['--mirror-listen', '127.0.0.1:0'],
      ['--admin-listen', '127.0.0.1:0'],
      // All settings of the cluster are given: the machine's own ones must not lead into another cluster.
      ['--node-name', name],
      ['--cluster-mode', 'on'],
      ['--cluster-listen', '127.0.0.1:0'],
      ['--cluster-announce', ''],
      ['--cluster-bootstrap', this.#nodes[0]?.child.cluster ?? ''],
      ['--cluster-key-file', this.#keyFile],
      ['--cluster-mdns', 'off'],
      ['--cluster-banned', ''],
      ['--transfer-listen', '127.0.0.1:0'],
      ...(link === undefined
        ? []
        : [
            ['--max-upload', rateOf(link)],
            ['--max-download', rateOf(link)],
          ]),
      // All nodes share the processors of one machine, so a silent node is slow, not hung.
      ['--mirror-first-byte-timeout', '30s'],
      ['--mirror-hang-timeout', '0s'], // no runtime waits for these nodes
      // If the runtime of this machine had the image already, the demo would show nothing.
      ['--store-runtime-content', 'none'],
      // The demo has looked at the disk itself, and leaves nothing behind.
      ['--store-shrink-below', '0%', '--store-stop-below', '0%'],
      ['--log-format', 'json'],
      ['--log-level', 'info'],
    ];
    const child = new ChildNode({ arguments: [...flags.flat(), ...this.#options.arguments], env });
    this.#children.push(child);
    await child.untilReady({ signal });
    return { name, child, admin: new AdminClient(child.admin) };
  }

  async #membersOf(node: DemoNode): Promise<number | undefined> {
    if (!node.child.isRunning) {
      throw new WeirError('internal', `${node.name} ended by itself${node.child.log()}`);
    }
    return (await statusOf(node, this.#options.signal))?.cluster.members;
  }
}

async function statusOf({ admin }: DemoNode, signal: AbortSignal): Promise<StatusReport | undefined> {
  try {
    return await admin.status({ signal });
  } catch (error) {
    signal.throwIfAborted();
    if (toWeirError(error).code === 'upstream_unreachable') return undefined; // it is busy, or its process has ended, which shows by itself
    throw error;
  }
}

/** The value of a flag. */
function rateOf(bytesPerSecond: number): string {
  return `${Math.round(bytesPerSecond / KIB)}KiB/s`;
}
