/** Three nodes and a registry, each a host of its own with IPv4, IPv6 or both, and clients that pull on the nodes. */
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { MIB, SECOND } from '../../src/util/clock.ts';
import type { PullResult, PullWish } from '../faults/wish.ts';
import { buildImage, type TestImage } from './images.ts';
import { Lan, type LanHost } from './lan.ts';
import { Program } from './program.ts';
import { push } from './push.ts';
import { Registry } from './registry.ts';
import { TempDir } from './temp.ts';
import { WeirNode } from './weir.ts';

export type Families = '4' | '6' | '46';

export interface IpHost {
  readonly host: LanHost;
  /** Undefined: it has no address of that family. */
  readonly ip4: string | undefined;
  readonly ip6: string | undefined;
}

const PULL = fileURLToPath(new URL('../faults/pull.ts', import.meta.url));
const KEY = 'the key of a cluster with several versions of IP';
const LINK = '200mbit';
/** Slower than the links of nodes: a pull that leaves peers aside takes longer. */
const REGISTRY_LINK = '100mbit';
const PORT = 5000;
const LAYERS: readonly number[] = [4 * MIB, 4 * MIB, 4 * MIB];
const DEADLINE = 60 * SECOND;
/** A name with all addresses of the registry, and one with those of all nodes. */
const REGISTRY_NAME = 'registry.test';
const BOOTSTRAP_NAME = 'weir.test';

export class IpSite implements AsyncDisposable {
  readonly lan: Lan;
  readonly hosts: readonly IpHost[];
  readonly nodes: WeirNode[] = [];
  readonly registry: IpHost;
  /** The registry itself. */
  readonly program: Registry;
  readonly #dir: TempDir;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    stack: AsyncDisposableStack,
    made: Pick<IpSite, 'lan' | 'hosts' | 'registry' | 'program'>,
    dir: TempDir,
  ) {
    this.#stack = stack;
    this.lan = made.lan;
    this.hosts = made.hosts;
    this.registry = made.registry;
    this.program = made.program;
    this.#dir = dir;
  }

  /** No node runs yet. @param nodes the families of each node */
  static async create(registry: Families, nodes: readonly Families[]): Promise<IpSite> {
    await using stack = new AsyncDisposableStack();
    const dir = stack.use(await TempDir.create('ip'));
    await writeFile(dir.join('key'), KEY, { mode: 0o600 });
    const lan = stack.use(await Lan.create());
    const all: IpHost[] = [];
    for (const families of [registry, ...nodes]) {
      const host = await lan.addHost(all.length === 0 ? REGISTRY_LINK : LINK);
      const ip6 = families.includes('6') ? await lan.addIpv6(host) : undefined;
      if (!families.includes('4')) await lan.removeIpv4(host);
      all.push({ host, ip4: families.includes('4') ? host.address : undefined, ip6 });
    }
    const [first, ...hosts] = all;
    if (first === undefined) throw new Error('there is no registry');
    for (const { host } of hosts) {
      for (const address of addressesOf(first)) await host.namespace.addHost(REGISTRY_NAME, address);
      for (const address of hosts.flatMap(addressesOf)) await host.namespace.addHost(BOOTSTRAP_NAME, address);
    }
    const within = first.host.namespace.enter;
    const storage = dir.join('registry');
    const program = stack.use(await Registry.start({ storage, listen: `:${PORT}`, within }));
    return new IpSite(stack.move(), { lan, hosts, registry: first, program }, dir);
  }

  /** The registry by a name with all its addresses. */
  readonly byName = `${REGISTRY_NAME}:${PORT}`;
  /** The nodes by a name with the addresses of all. */
  readonly bootstrap = `${BOOTSTRAP_NAME}:4772`;

  /** Pushes an image of 12 MiB. */
  async push(repository: string): Promise<TestImage> {
    await using pantry = await Registry.start({ storage: this.#dir.join('registry') });
    const image = await buildImage({ seed: repository, layers: LAYERS });
    await push(pantry.url, repository, 'v1', image);
    return image;
  }

  /** Starts all nodes, with the addresses that a node listens on by default. @param bootstrap of each node */
  async startNodes(bootstrap: (index: number) => string): Promise<void> {
    const starting = this.hosts.map(async ({ host }, index) => {
      const node = await WeirNode.start({
        within: host.namespace.enter,
        env: { WEIR_NODE_WORKERS: '1' }, // each remembers for itself over which version of IP a registry answers
        settings: {
          'mirror.listen': '127.0.0.1:4770,[::1]:4770',
          'admin.listen': '127.0.0.1:4771',
          'cluster.listen': '0.0.0.0:4772,[::]:4772',
          'transfer.listen': '0.0.0.0:4773,[::]:4773',
          'cluster.key-file': this.#dir.join('key'),
          'cluster.mdns': 'off',
          'cluster.bootstrap': bootstrap(index),
        },
        registries: Object.fromEntries(
          [this.byName, ...addressesOf(this.registry).map(withPort)].map((name) => [
            name,
            { 'plain-http': true },
          ]),
        ),
      });
      this.nodes[index] = node;
    });
    await Promise.all(starting);
  }

  /** Starts all anew, on the data that they have. */
  async restartNodes(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.restart()));
  }

  host(index: number): IpHost {
    const host = this.hosts[index];
    if (host === undefined) throw new Error(`there is no host ${index}`);
    return host;
  }

  /** Pulls on a node as containerd does; the client checks each digest. */
  async pull(index: number, wish: Partial<PullWish> & Pick<PullWish, 'repository'>): Promise<PullResult> {
    const whole: PullWish = {
      mirror: '127.0.0.1:4770',
      registry: this.byName,
      parallel: 3,
      deadline: DEADLINE,
      ...wish,
    };
    await using program = await Program.start({
      command: process.execPath,
      args: [PULL, JSON.stringify(whole)],
      within: this.host(index).host.namespace.enter,
    });
    const [line] = await program.line(/^\{"result":.*$/, { timeout: DEADLINE + 30 * SECOND });
    return (JSON.parse(line) as { result: PullResult }).result;
  }

  /** What the registry sends while `work` runs, in images. */
  async sent(image: TestImage, work: () => Promise<unknown>): Promise<number> {
    const before = await this.lan.sent(this.registry.host);
    await work();
    const size = image.blobs.reduce((sum, blob) => sum + blob.size, 0);
    return ((await this.lan.sent(this.registry.host)) - before) / size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill().then(() => node[Symbol.asyncDispose]())));
    await this.#stack.disposeAsync();
  }
}

/** The registry at one of its addresses. */
export function withPort(address: string): string {
  return `${address.includes(':') ? `[${address}]` : address}:${PORT}`;
}

function addressesOf({ ip6, ip4 }: IpHost): readonly string[] {
  return [ip6, ip4].filter((address) => address !== undefined);
}
