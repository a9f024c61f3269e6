/**
 * A network of the test's own: hosts, each a namespace with one interface `eth0`, on a bridge in a namespace of its
 * own, where nothing but packets lives. Links are shaped by token buckets (tc-tbf(8)), and the bridge drops what it
 * is told to (nft(8), family bridge). All of it is gone with the namespaces.
 */
import { Namespace } from './namespace.ts';
import { runOk } from './program.ts';

/** Bytes that may leave at once: above what a refill at 200 Mbit/s brings per kernel tick of 4 ms (100 kB). */
const BURST = '256kb';
/** Time that a packet may wait before it is dropped: far above a round trip, below TCP's time-out. */
const LATENCY = '50ms';
/** Ethernet, IPv4, and TCP with time stamps. */
const HEADER_BYTES = 14 + 20 + 32;
const PREFIX = 24;
const PREFIX_6 = 64;
/** Address of the test process, if it takes part. */
const TEST_PROCESS = 1;

export interface LanHost {
  readonly namespace: Namespace;
  /** IPv4. */
  readonly address: string;
  /** The bridge's side of its link. */
  readonly port: string;
}

interface LinkStatistics {
  readonly stats64: { readonly tx: { readonly bytes: number; readonly packets: number } };
}

export class Lan implements AsyncDisposable {
  readonly #bridge: Namespace;
  readonly #stack: AsyncDisposableStack;
  readonly #network: string;
  #hosts = 1;
  #rules = 0;

  private constructor(bridge: Namespace, network: string, stack: AsyncDisposableStack) {
    this.#bridge = bridge;
    this.#network = network;
    this.#stack = stack;
  }

  /** @param network its first two numbers: two that one process takes part in must differ */
  static async create(network: '198.18' | '198.19' = '198.19'): Promise<Lan> {
    await using stack = new AsyncDisposableStack();
    const bridge = stack.use(await Namespace.create());
    const inside = { within: bridge.enter };
    await runOk('ip', ['link', 'add', 'br0', 'type', 'bridge'], inside);
    await runOk('ip', ['link', 'set', 'br0', 'up'], inside);
    // Out of the range for benchmarks (RFC 2544). The test process may have an address in it: two runs get two ranges.
    return new Lan(bridge, `${network}.${process.pid & 255}`, stack.move());
  }

  /** Makes a host. `rate`: of its link in both directions, as tc writes rates. */
  async addHost(rate: string): Promise<LanHost> {
    const namespace = this.#stack.use(await Namespace.create());
    const number = ++this.#hosts;
    const host = { namespace, address: `${this.#network}.${number}`, port: `p${number}` };
    await this.#plug(host.port, 'eth0', namespace.pid);
    const inside = { within: namespace.enter };
    await runOk('ip', ['address', 'add', `${host.address}/${PREFIX}`, 'dev', 'eth0'], inside);
    await runOk('ip', ['link', 'set', 'eth0', 'up'], inside);
    await this.shape(host, rate);
    return host;
  }

  /** Gives the host an IPv6 address, too; returns it. */
  async addIpv6({ namespace, address }: LanHost): Promise<string> {
    const address6 = `fd00::${address.split('.').at(-1)}`;
    // Without `nodad` nothing could be bound to it for the second in which the kernel looks for duplicates.
    const add = ['address', 'add', `${address6}/${PREFIX_6}`, 'dev', 'eth0', 'nodad'];
    await runOk('ip', add, { within: namespace.enter });
    return address6;
  }

  /** The host has IPv6 alone, except on loopback. */
  async removeIpv4({ namespace }: LanHost): Promise<void> {
    await runOk('ip', ['-4', 'address', 'flush', 'dev', 'eth0'], { within: namespace.enter });
  }

  /**
   * Plugs a host of another network into this one too, with a link that nothing shapes; returns the address.
   * It reaches the test process there, and no other host that joined.
   */
  async join(namespace: Namespace, device: string): Promise<string> {
    const number = ++this.#hosts;
    const address = `${this.#network}.${number}`;
    const port = `p${number}`;
    await this.#plug(port, device, namespace.pid);
    const isolation = ['link', 'set', 'dev', port, 'type', 'bridge_slave', 'isolated', 'on'];
    await runOk('ip', isolation, { within: this.#bridge.enter });
    const inside = { within: namespace.enter };
    await runOk('ip', ['address', 'add', `${address}/${PREFIX}`, 'dev', device], inside);
    await runOk('ip', ['link', 'set', device, 'up'], inside);
    return address;
  }

  /** Gives the test process itself an address in the network, for servers that it runs; returns the address. */
  async addTestProcess(): Promise<string> {
    const device = `weirt${process.pid}`; // Linux takes 15 characters for a name
    await this.#plug('p1', device, process.pid);
    const address = `${this.#network}.${TEST_PROCESS}`;
    await runOk('ip', ['address', 'add', `${address}/${PREFIX}`, 'dev', device]);
    await runOk('ip', ['link', 'set', device, 'up']);
    return address;
  }

  /** From now on the host's link has this rate in both directions. */
  async shape({ namespace, port }: LanHost, rate: string): Promise<void> {
    const filter = ['root', 'tbf', 'rate', rate, 'burst', BURST, 'latency', LATENCY];
    await runOk('tc', ['qdisc', 'replace', 'dev', 'eth0', ...filter], { within: namespace.enter });
    await runOk('tc', ['qdisc', 'replace', 'dev', port, ...filter], { within: this.#bridge.enter });
  }

  /**
   * From now on the kernel hands single packets to the link, not bundles that are cut up later: otherwise a rule that
   * drops one packet in fifty drops dozens at a time.
   */
  async sendSinglePackets({ namespace }: LanHost): Promise<void> {
    await runOk('ip', ['link', 'set', 'eth0', 'gso_max_segs', '1'], { within: namespace.enter });
  }

  /** The host's link is down, or up again. */
  async setLink({ port }: LanHost, state: 'down' | 'up'): Promise<void> {
    await runOk('ip', ['link', 'set', port, state], { within: this.#bridge.enter });
  }

  /** No packet gets from one host to the other; the way back is open. */
  async mute(from: LanHost, to: LanHost): Promise<void> {
    await this.#drop([`iifname ${setOf([from])} oifname ${setOf([to])} drop`]);
  }

  /** No packet gets from one group to the other until the returned function is called. */
  async cut(some: readonly LanHost[], others: readonly LanHost[]): Promise<() => Promise<void>> {
    return this.#drop([
      `iifname ${setOf(some)} oifname ${setOf(others)} drop`,
      `iifname ${setOf(others)} oifname ${setOf(some)} drop`,
    ]);
  }

  /**
   * No TCP over this version of IP between these hosts from now on. Nobody is told, as by a firewall that drops.
   * @returns counts the dropped packets so far
   */
  async dropTcp(version: 'ip' | 'ip6', among: readonly LanHost[]): Promise<() => Promise<number>> {
    const set = setOf(among);
    await this.#drop([`iifname ${set} oifname ${set} ether type ${version} meta l4proto tcp counter drop`]);
    const list = ['list', 'table', 'bridge', `rules${this.#rules}`];
    return async () => {
      const listed = await runOk('nft', list, { within: this.#bridge.enter });
      return Number(/counter packets (\d+)/.exec(listed)?.[1]);
    };
  }

  /** This number of 1000 packets among these hosts is lost until the returned function is called. */
  async lose(perMille: number, among: readonly LanHost[]): Promise<() => Promise<void>> {
    const set = setOf(among);
    return this.#drop([`iifname ${set} oifname ${set} numgen random mod 1000 < ${perMille} drop`]);
  }

  /** Bytes that the host has sent so far, without TCP/IP headers; retransmissions count. */
  async sent({ namespace }: LanHost): Promise<number> {
    const json = await runOk('ip', ['-s', '-j', 'link', 'show', 'dev', 'eth0'], { within: namespace.enter });
    const [link] = JSON.parse(json) as LinkStatistics[];
    if (link === undefined) throw new Error(`ip shows no link: ${json}`);
    const { bytes, packets } = link.stats64.tx;
    return bytes - packets * HEADER_BYTES;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  /** A link from the bridge to the namespace of `pid`. */
  async #plug(port: string, device: string, pid: number): Promise<void> {
    const inside = { within: this.#bridge.enter };
    const far = ['peer', 'name', device, 'netns', String(pid)];
    await runOk('ip', ['link', 'add', port, 'type', 'veth', ...far], inside);
    await runOk('ip', ['link', 'set', port, 'master', 'br0', 'up'], inside);
  }

  async #drop(rules: readonly string[]): Promise<() => Promise<void>> {
    const table = `rules${++this.#rules}`;
    const inside = { within: this.#bridge.enter };
    const chain = ['type filter hook forward priority 0', ...rules].map((line) => `    ${line}\n`).join('');
    await runOk('nft', ['-f', '-'], {
      ...inside,
      input: `table bridge ${table} {\n  chain c {\n${chain}  }\n}\n`,
    });
    return async () => void (await runOk('nft', ['delete', 'table', 'bridge', table], inside));
  }
}

function setOf(hosts: readonly LanHost[]): string {
  return `{ ${hosts.map(({ port }) => port).join(', ')} }`;
}
