/** Five nodes behind shaped links, a registry behind its own with a front that misbehaves, and clients that pull. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { MIB, SECOND } from '../../src/util/clock.ts';
import { knows } from '../support/weir-cluster.ts';
import type { WrittenRule } from '../support/fault-rules.ts';
import { buildImage, type TestImage } from '../support/images.ts';
import { Lan, type LanHost } from '../support/lan.ts';
import { Program, runOk } from '../support/program.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { TempDir } from '../support/temp.ts';
import { WeirNode } from '../support/weir.ts';
import type { PullResult, PullWish } from './wish.ts';

/** Milliseconds between two looks. */
const LOOK = 50;
export const NODES = 5;
const LINK = '200mbit';
const REPOSITORY = 'fault/app';
const PORT = 5000;
const PULL = fileURLToPath(new URL('pull.ts', import.meta.url));
const FRONT = fileURLToPath(new URL('front.ts', import.meta.url));
const KEY = 'the key of a cluster whose faults are tried';

export interface SiteOptions {
  /** Bytes of each layer; default five of 4 MiB. */
  readonly layers?: readonly number[];
  /** Of the registry's link, as tc writes rates. */
  readonly registryRate?: string;
  readonly settings?: Readonly<Record<string, string>>;
  /** Argv before each node's command. */
  readonly within?: (index: number, site: Site) => readonly string[];
  /** Nodes that take part; default all. */
  readonly count?: number;
}

interface Pull {
  readonly node: number;
  bytes: number;
  readonly result: Promise<PullResult>;
  readonly program: Program;
}

export interface Summary {
  readonly failed: number;
  readonly wrong: number;
  readonly hung: number;
  readonly slowest: number;
  readonly quickest: number;
  readonly gap: number;
  /** Images that left the registry, and the part of them that clients fetched past the mirror. */
  readonly images: number;
  readonly past: number;
  readonly errors: readonly string[];
}

export class Site implements AsyncDisposable {
  readonly lan: Lan;
  readonly hosts: readonly LanHost[];
  readonly nodes: WeirNode[] = [];
  readonly image: TestImage;
  readonly dir: TempDir;
  readonly registryHost: LanHost;
  readonly #storage: string;
  readonly #stack: AsyncDisposableStack;
  readonly #options: SiteOptions;
  #front: Program | undefined;
  #registry: Registry | undefined;
  #pulls: Pull[] = [];
  #sentBefore = 0;

  private constructor(
    stack: AsyncDisposableStack,
    options: SiteOptions,
    made: Pick<Site, 'lan' | 'hosts' | 'image' | 'dir' | 'registryHost'>,
    storage: string,
  ) {
    this.#stack = stack;
    this.#options = options;
    this.lan = made.lan;
    this.hosts = made.hosts;
    this.image = made.image;
    this.dir = made.dir;
    this.registryHost = made.registryHost;
    this.#storage = storage;
  }

  static async create(options: SiteOptions = {}): Promise<Site> {
    await using stack = new AsyncDisposableStack();
    const {
      layers = Array.from({ length: 5 }, () => 4 * MIB),
      registryRate = '50mbit',
      count = NODES,
    } = options;
    const dir = stack.use(await TempDir.create('faults'));
    await writeFile(dir.join('key'), KEY, { mode: 0o600 });
    const storage = dir.join('registry');
    const image = await buildImage({ seed: `faults ${layers.join(' ')}`, layers });
    {
      await using pantry = await Registry.start({ storage });
      await push(pantry.url, REPOSITORY, 'v1', image);
    }
    const lan = stack.use(await Lan.create());
    const registryHost = await lan.addHost(registryRate);
    const hosts: LanHost[] = [];
    for (let i = 0; i < count; i += 1) hosts.push(await lan.addHost(LINK));
    const site = new Site(stack.move(), options, { lan, hosts, image, dir, registryHost }, storage);
    try {
      await site.startRegistry();
      await site.startNodes();
      await site.mark();
      return site;
    } catch (error) {
      await site[Symbol.asyncDispose]();
      throw error;
    }
  }

  get registry(): string {
    return `${this.registryHost.address}:${PORT}`;
  }

  /** Bytes of the image. */
  get size(): number {
    return this.image.blobs.reduce((sum, { size }) => sum + size, 0);
  }

  node(index: number): WeirNode {
    const node = this.nodes[index];
    if (node === undefined) throw new Error(`there is no node ${index}`);
    return node;
  }

  host(index: number): LanHost {
    const host = this.hosts[index];
    if (host === undefined) throw new Error(`there is no host ${index}`);
    return host;
  }

  dataFolder(index: number): string {
    return this.dir.join(`n${index}`);
  }

  async startRegistry(): Promise<void> {
    const within = this.registryHost.namespace.enter;
    this.#registry = await Registry.start({ storage: this.#storage, listen: '127.0.0.1:5001', within });
    this.#front = await Program.start({
      command: process.execPath,
      args: [FRONT, this.registry, this.#registry.url],
      within,
    });
    await this.#front.line(/front is ready/);
  }

  async stopRegistry(): Promise<void> {
    await this.#front?.stop('SIGKILL');
    await this.#registry?.[Symbol.asyncDispose]();
    this.#front = undefined;
    this.#registry = undefined;
  }

  /** From now on the registry's front follows these rules. */
  async misbehave(...rules: readonly WrittenRule[]): Promise<void> {
    const script = `fetch('http://${this.registry}/_rules', { method: 'PUT', body: process.argv[1] })`;
    const within = this.registryHost.namespace.enter;
    await runOk(process.execPath, ['-e', script, JSON.stringify(rules)], { within });
  }

  async startNodes(): Promise<void> {
    const indexes = this.hosts.map((_, index) => index);
    await Promise.all(indexes.map((index) => this.startNode(index)));
    await this.known();
  }

  /** Starts the node anew, on the data folder that it had. */
  async startNode(index: number, changes: Readonly<Record<string, string>> = {}): Promise<void> {
    const { address, namespace } = this.host(index);
    const before = this.#options.within?.(index, this) ?? [];
    await mkdir(this.dataFolder(index), { recursive: true, mode: 0o700 });
    this.nodes[index] = await WeirNode.start({
      within: [...namespace.enter, ...before],
      registries: { [this.registry]: { 'plain-http': true } },
      settings: {
        'data.dir': this.dataFolder(index),
        'mirror.listen': '127.0.0.1:4770',
        'admin.listen': '127.0.0.1:4771',
        'cluster.listen': `${address}:4772`,
        'transfer.listen': `${address}:4773`,
        'cluster.key-file': this.dir.join('key'),
        'cluster.mdns': 'off',
        'cluster.bootstrap': this.hosts.map((host) => `${host.address}:4772`).join(','),
        'log.level': 'info',
        ...this.#options.settings,
        ...changes,
      },
    });
  }

  /** Waits until all nodes that run know of each other. */
  async known(nodes: readonly number[] = this.hosts.map((_, index) => index)): Promise<void> {
    for (const index of nodes) {
      await knows(this.node(index), nodes.length);
    }
  }

  /** What the registry sends, and the pulls that begin, count from now on. */
  async mark(): Promise<void> {
    this.#pulls = [];
    this.#sentBefore = await this.lan.sent(this.registryHost);
  }

  /** Begins a pull on each of these nodes. */
  async pull(
    nodes: readonly number[] = this.hosts.map((_, index) => index),
    wish: Partial<PullWish> = {},
  ): Promise<void> {
    const whole: PullWish = {
      mirror: '127.0.0.1:4770',
      registry: this.registry,
      repository: REPOSITORY,
      parallel: 3,
      deadline: 120 * SECOND,
      ...wish,
    };
    const args = [PULL, JSON.stringify(whole)];
    for (const node of nodes) {
      const within = this.host(node).namespace.enter;
      const program = await Program.start({ command: process.execPath, args, within });
      const result = program
        .line(/^\{"result":.*$/, { timeout: whole.deadline + 30 * SECOND })
        .then(([line]) => (JSON.parse(line) as { result: PullResult }).result);
      result.catch(() => undefined);
      this.#pulls.push({ node, bytes: 0, result, program });
    }
  }

  /** Waits until the clients have this share of the image, on average. */
  async until(share: number): Promise<void> {
    await until(() => this.share >= share);
  }

  /** Waits until each client has this share. */
  async untilAll(share: number): Promise<void> {
    await until(() => Math.min(...this.#shares()) >= share);
  }

  /** The mean share of the image that clients have. */
  get share(): number {
    const shares = this.#shares();
    return shares.reduce((sum, each) => sum + each, 0) / Math.max(1, shares.length);
  }

  #shares(): readonly number[] {
    return this.#pulls.map(({ program }) => {
      const line = program.lines.findLast((each) => each.startsWith('{"bytes":'));
      const isOver = program.lines.some((each) => each.startsWith('{"result":'));
      return isOver ? 1 : (JSON.parse(line ?? '{"bytes":0}') as { bytes: number }).bytes / this.size;
    });
  }

  /** Waits until so many images have left the registry. */
  async untilSent(images: number): Promise<void> {
    await until(async () => (await this.imagesSent()) >= images);
  }

  async imagesSent(): Promise<number> {
    return ((await this.lan.sent(this.registryHost)) - this.#sentBefore) / this.size;
  }

  /** Waits for the pulls of these nodes. */
  async ended(nodes?: readonly number[]): Promise<Summary> {
    const judged = this.#pulls.filter(({ node }) => nodes === undefined || nodes.includes(node));
    const results = await Promise.all(judged.map(({ result }) => result));
    const count = (outcome: PullResult['outcome']): number =>
      results.filter((each) => each.outcome === outcome).length;
    return {
      failed: count('failed'),
      wrong: count('wrong bytes'),
      hung: count('hung'),
      slowest: Math.max(...results.map(({ seconds }) => seconds)),
      quickest: Math.min(...results.map(({ seconds }) => seconds)),
      gap: Math.max(...results.map((each) => each.gap)),
      images: await this.imagesSent(),
      past: results.reduce((sum, { past }) => sum + past, 0) / this.size,
      errors: results.flatMap(({ errors }) => errors),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#pulls.map(({ program }) => program.stop('SIGKILL')));
    await Promise.all(this.nodes.map((node) => node.kill().then(() => node[Symbol.asyncDispose]())));
    await this.stopRegistry();
    await this.#stack.disposeAsync();
  }
}

async function until(check: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 100 * SECOND;
  while (!(await check())) {
    assert.ok(performance.now() < end, 'the pulls did not get that far');
    await delay(LOOK);
  }
}
