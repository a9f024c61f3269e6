/**
 * The network of a crowd: nodes, the registry and other central programs, each on a host of its own.
 *
 * As root each host is a network namespace with a shaped link to a bridge. A second link, which nothing shapes, joins
 * each node to this process. The node's mirror and admin address listen there: one process can be the runtime of all
 * nodes, and bytes between a mirror and its runtime do not count as traffic of the node. If the runtime is to speak to
 * the registry instead, the node's kernel forwards it (nft(8), dnat), so those bytes come over the node's shaped link.
 *
 * Without root all hosts share this machine's loopback, and nothing is shaped.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { Lan, type LanHost } from '../../test/support/lan.ts';
import { runOk } from '../../test/support/program.ts';
import { inParallel } from '../support/parallel.ts';
import type { Rate } from './options.ts';

/** Hosts that are made at a time: each takes a dozen short programs. */
const AT_ONCE = 4;
/** Bytes of headers in a packet: Ethernet, IPv4, and TCP with time stamps. */
const HEADER_BYTES = 14 + 20 + 32;
const ESTABLISHED = '01';
const FIRST_FORWARD = 20_000;
/** Entries of the kernel's table of neighbours, which all namespaces share; a crowd of 60 has 3,600 of them. */
const NEIGHBOURS = '/proc/sys/net/ipv4/neigh/default/gc_thresh';
const MAX_NEIGHBOURS = 65_536;

export interface Place {
  /** Argv that enters its namespace; empty on loopback. */
  readonly within: readonly string[];
  /** Address at which other hosts reach it. */
  readonly address: string;
  /** Address at which this process, as the node's runtime, reaches its programs. */
  readonly reach: string;
  /** Bytes that it sent over its link, without TCP/IP headers; undefined on loopback. */
  sent(): Promise<number | undefined>;
  /** Bytes that came over its link, with headers; undefined on loopback. */
  received(): Promise<number | undefined>;
  /** TCP connections over its link; undefined on loopback. */
  connections(): Promise<number | undefined>;
  readonly host: LanHost | undefined;
}

export interface Network extends AsyncDisposable {
  readonly isShaped: boolean;
  readonly nodes: readonly Place[];
  /** A host that is no node. */
  addHost(rate: Rate): Promise<Place>;
  /** `HOST:PORT` at which this process reaches `target` (`HOST:PORT` of another host) as if it stood at the node. */
  forward(node: Place, target: string): Promise<string>;
  shape(place: Place, bitsPerSecond: number): Promise<void>;
  /** Packets lost of 1000 between nodes. */
  lose(perMille: number): Promise<void>;
}

export class ShapedNetwork implements Network {
  readonly isShaped = true;
  readonly nodes: readonly Place[];
  readonly #lan: Lan;
  readonly #stack: AsyncDisposableStack;
  #forwards = FIRST_FORWARD;

  private constructor(lan: Lan, nodes: readonly Place[], stack: AsyncDisposableStack) {
    this.#lan = lan;
    this.nodes = nodes;
    this.#stack = stack;
  }

  static async create(nodes: number, link: Rate): Promise<ShapedNetwork> {
    await using stack = new AsyncDisposableStack();
    await allowNeighbours(stack);
    const lan = stack.use(await Lan.create('198.19'));
    const side = stack.use(await Lan.create('198.18'));
    await side.addTestProcess();
    const places = await inParallel(Array.from({ length: nodes }), AT_ONCE, async () => {
      const host = await lan.addHost(link.text);
      const reach = await side.join(host.namespace, 'side0');
      return placeOf(host, reach);
    });
    return new ShapedNetwork(lan, places, stack.move());
  }

  async addHost(rate: Rate): Promise<Place> {
    const host = await this.#lan.addHost(rate.text);
    return placeOf(host, host.address);
  }

  async forward({ within, reach }: Place, target: string): Promise<string> {
    const port = this.#forwards++;
    const rules = `
      table ip weir${port} {
        chain in { type nat hook prerouting priority -100; iifname "side0" tcp dport ${port} dnat to ${target}; }
        chain out { type nat hook postrouting priority 100; iifname "side0" oifname "eth0" masquerade; }
      }`;
    await runOk('sysctl', ['-q', '-w', 'net.ipv4.ip_forward=1'], { within });
    await runOk('nft', ['-f', '-'], { within, input: rules });
    return `${reach}:${port}`;
  }

  async shape({ host }: Place, bitsPerSecond: number): Promise<void> {
    if (host !== undefined) await this.#lan.shape(host, `${Math.round(bitsPerSecond / 1000)}kbit`);
  }

  async lose(perMille: number): Promise<void> {
    const hosts = this.nodes.flatMap(({ host }) => host ?? []);
    await inParallel(hosts, AT_ONCE, (host) => this.#lan.sendSinglePackets(host));
    await this.#lan.lose(perMille, hosts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

export class LoopbackNetwork implements Network {
  readonly isShaped = false;
  readonly nodes: readonly Place[];

  constructor(nodes: number) {
    this.nodes = Array.from({ length: nodes }, () => LOOPBACK);
  }

  async addHost(): Promise<Place> {
    return LOOPBACK;
  }

  async forward(_node: Place, target: string): Promise<string> {
    return target;
  }

  async shape(): Promise<void> {}

  async lose(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}

export const LOOPBACK: Place = {
  within: [],
  address: '127.0.0.1',
  reach: '127.0.0.1',
  sent: async () => undefined,
  received: async () => undefined,
  connections: async () => undefined,
  host: undefined,
};

function placeOf(host: LanHost, reach: string): Place {
  const { namespace, address } = host;
  const proc = `/proc/${namespace.pid}/net`;
  return {
    within: namespace.enter,
    address,
    reach,
    host,
    sent: async () => sentBytes(await readFile(`${proc}/dev`, 'utf8')),
    received: async () => receivedBytes(await readFile(`${proc}/dev`, 'utf8')),
    connections: async () => countConnections(await readFile(`${proc}/tcp`, 'utf8'), address),
  };
}

/** Sent bytes, without TCP/IP headers. */
export function sentBytes(table: string): number {
  const [bytes, packets] = eth0(table, 8);
  return bytes - packets * HEADER_BYTES;
}

/** Received bytes, with headers. */
export function receivedBytes(table: string): number {
  const [bytes] = eth0(table, 0);
  return bytes;
}

/** From /proc/net/dev: columns 0 to 7 are of received packets, 8 to 15 of sent ones. */
function eth0(table: string, from: 0 | 8): readonly [bytes: number, packets: number] {
  const columns = /^\s*eth0:\s*(.*)$/m.exec(table)?.[1]?.trim().split(/\s+/).map(Number) ?? [];
  const [bytes, packets] = columns.slice(from);
  if (bytes === undefined || packets === undefined) throw new Error(`no eth0 in:\n${table}`);
  return [bytes, packets];
}

/** Established connections of this IPv4 address, from /proc/net/tcp (little-endian hexadecimal addresses). */
export function countConnections(table: string, address: string): number {
  const bytes = address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  const own = `${bytes.toReversed().join('').toUpperCase()}:`;
  return table.split('\n').filter((line) => {
    const [, local = '', , state] = line.trim().split(/\s+/);
    return local.startsWith(own) && state === ESTABLISHED;
  }).length;
}

/** Raises the kernel's bounds while the network exists: beyond them it drops packets. */
async function allowNeighbours(stack: AsyncDisposableStack): Promise<void> {
  for (const level of [3, 2, 1]) {
    const file = `${NEIGHBOURS}${level}`;
    const before = await readFile(file, 'utf8');
    if (Number(before) >= MAX_NEIGHBOURS) continue;
    await writeFile(file, String(MAX_NEIGHBOURS));
    stack.defer(() => writeFile(file, before));
  }
}
