import { systemClock, type Clock } from '../../src/util/clock.ts';
import { ClusterKeys } from '../../src/network/cluster-keys.ts';
import { Network } from '../../src/network/network.ts';
import type { NetworkLogger, NetworkOptions } from '../../src/network/network-options.ts';
import { MemberTable } from '../../src/cluster/member-table.ts';
import { Identity } from '../../src/protocol/identity.ts';
import type { PeerId } from '../../src/protocol/peer-id.ts';

export const KEY: Uint8Array = new Uint8Array(32).fill(7);

const quiet: NetworkLogger = { debug: () => undefined, warn: () => undefined };
const loud: NetworkLogger = {
  debug: (detail, message) => console.error('debug', message, detail),
  warn: (detail, message) => console.error('warn', message, detail),
};

/** A network on loopback, and the events that it reported. */
export interface TestNetwork extends AsyncDisposable {
  readonly network: Network;
  readonly table: MemberTable;
  readonly peer: PeerId;
  readonly address: string;
  readonly unreachable: PeerId[];
  /** Peers to which nothing more is to be said. */
  readonly hungUp: PeerId[];
}

export type TestOptions = Partial<NetworkOptions> & { readonly banned?: readonly PeerId[] };

export async function startNetwork({ banned = [], ...options }: TestOptions = {}): Promise<TestNetwork> {
  const identity = options.identity ?? Identity.generate();
  const clock: Clock = options.clock ?? systemClock;
  const table = options.table ?? new MemberTable({ self: identity.peer, clock, banned });
  const unreachable: PeerId[] = [];
  const hungUp: PeerId[] = [];
  const network = await Network.start({
    identity,
    clock,
    clusterKeys: new ClusterKeys([KEY]),
    listen: [{ host: '127.0.0.1', port: 0 }],
    announce: [],
    bootstrap: [],
    mdns: false,
    selfInfo: { name: 'test', zone: '', version: '0.1.0', dataAddresses: [], fingerprint: new Uint8Array() },
    logger: process.env['WEIR_TEST_LOG'] === undefined ? quiet : loud,
    onUnreachable: (peer) => unreachable.push(peer),
    onHangUp: (peer) => hungUp.push(peer),
    ...options,
    table,
  });
  // It listens on loopback, whatever it announces.
  const address = `/ip4/127.0.0.1/tcp/${network.addresses[0]?.split('/').at(-1)}`;
  return {
    network,
    table,
    peer: identity.peer,
    address,
    unreachable,
    hungUp,
    [Symbol.asyncDispose]: () => network.stop(),
  };
}

/** Waits until the condition holds; checks every 10 ms. Unlike eventually(), it fails at once if `holds` throws. */
export async function until(what: string, holds: () => boolean, timeout = 15_000): Promise<void> {
  const end = performance.now() + timeout;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`not within ${timeout} ms: ${what}`);
    await systemClock.sleep(10);
  }
}
