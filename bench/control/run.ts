/**
 * `bench control`: what members cost each other before any byte of content moves: connections and messages. Both ends run in
 * this process, so that a figure is that of both.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createSecureContext, createServer } from 'node:tls';
import { multiaddr } from '@multiformats/multiaddr';
import { spread, type Spread } from '../../test/simulator/stats.ts';
import { startBareNode } from '../../test/support/bare-node.ts';
import { KEY } from '../../test/support/test-network.ts';
import { ByteWorkers } from '../../src/bytes/byte-workers.ts';
import type { Libp2pNode } from '../../src/network/libp2p-node.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { parseRegistryHost } from '../../src/oci/repository.ts';
import { Identity } from '../../src/protocol/identity.ts';
import type { SwarmMessage } from '../../src/protocol/messages.ts';
import { makeCertificate } from '../../src/transfer/certificate.ts';
import { dial } from '../../src/transfer/dial.ts';
import { ALPN } from '../../src/transfer/limits.ts';
import { systemClock } from '../../src/util/clock.ts';
import { openWire } from '../support/member-wire.ts';
import { makeParty, memberOf } from '../transfer/members.ts';

/** Milliseconds of CPU time, both ends together. */
export interface ControlFigures {
  /** A libp2p connection: TCP, noise, yamux. */
  readonly connection: Spread;
  /** A mutual TLS 1.3 connection. */
  readonly handshake: Spread;
  /** A message on the peer wire; of this, on the main threads; and each further one that leaves in the same turn. */
  readonly message: Spread;
  readonly main: Spread;
  readonly further: Spread;
}

export interface ControlWish {
  readonly repeat: number;
  readonly say: (message: string) => void;
  readonly signal: AbortSignal;
}

/** Of each in one turn: so many that a garbage collection more or less is not seen. */
const CONNECTIONS = 60;
const HANDSHAKES = 300;
const TURNS = 3000;
const TOGETHER = 11;

const LISTEN = [{ host: '127.0.0.1', port: 0 }];
const HAVE: SwarmMessage = {
  kind: 'have',
  swarm: { registry: parseRegistryHost('registry.example'), digest: digestOf(Buffer.alloc(0)) },
  indices: [7],
};

/** The first turn is not counted: code is compiled in it. */
export async function measureControl({ repeat, say, signal }: ControlWish): Promise<ControlFigures> {
  const turns: Record<keyof ControlFigures, number>[] = [];
  for (let count = 0; count <= repeat; count++) {
    signal.throwIfAborted();
    const figures = {
      connection: await connections(),
      handshake: await handshakes(signal),
      ...(await messages()),
    };
    const text = Object.entries(figures).map(([name, value]) => `${name} ${value.toFixed(3)} ms`);
    say(`${text.join(', ')}${count === 0 ? ' (not counted)' : ''}`);
    if (count > 0) turns.push(figures);
  }
  const of = (name: keyof ControlFigures): Spread => spread(turns.map((each) => each[name]));
  return {
    connection: of('connection'),
    handshake: of('handshake'),
    message: of('message'),
    main: of('main'),
    further: of('further'),
  };
}

async function cpuOf(count: number, work: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e3 / count;
}

async function connections(): Promise<number> {
  const start = (): Promise<Libp2pNode> => startBareNode(Identity.generate(), KEY, LISTEN);
  const [near, far] = [await start(), await start()];
  const [listening] = far.getMultiaddrs().map(String);
  const [address] = listening?.split('/p2p/') ?? [];
  if (address === undefined) throw new Error('it does not listen');
  const opened = (): Promise<void> =>
    new Promise((resolve) => far.addEventListener('connection:open', () => resolve(), { once: true }));
  try {
    return await cpuOf(CONNECTIONS, async () => {
      for (let i = 0; i < CONNECTIONS; i++) {
        const accepted = opened();
        const connection = await near.dial(multiaddr(address));
        await accepted;
        await connection.close();
      }
    });
  } finally {
    await Promise.all([near.stop(), far.stop()]);
  }
}

async function handshakes(signal: AbortSignal): Promise<number> {
  const own = makeCertificate(Identity.generate().peer, systemClock);
  const other = makeCertificate(Identity.generate().peer, systemClock);
  const options = {
    cert: other.certPem,
    key: other.keyPem,
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: [ALPN],
  };
  const server = createServer(options, (socket) => socket.on('error', () => undefined));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const context = createSecureContext({ cert: own.certPem, key: own.keyPem });
  const expected = { fingerprint: other.fingerprint, context };
  try {
    return await cpuOf(HANDSHAKES, async () => {
      for (let i = 0; i < HANDSHAKES; i++) {
        const accepted = once(server, 'secureConnection');
        const wire = await dial([{ host: '127.0.0.1', port }], expected, systemClock, { signal });
        await accepted;
        wire.socket.destroy();
      }
    });
  } finally {
    server.close();
  }
}

async function messages(): Promise<Record<'message' | 'main' | 'further', number>> {
  /** Messages that are still to come, and what is called then. */
  const awaited = { count: 0, came: (): void => undefined };
  const [one, other] = [makeParty(), makeParty()];
  await using workers = new ByteWorkers({ count: 2 });
  await using far = await openWire({
    workers,
    tls: other,
    self: memberOf(other, true, []),
    others: [memberOf(one, true, [])],
    onMessage: () => {
      if (--awaited.count === 0) awaited.came();
    },
  });
  const member = memberOf(other, true, far.addresses);
  await using ownWorkers = new ByteWorkers({ count: 1 });
  await using near = await openWire({
    workers: ownWorkers,
    tls: one,
    self: memberOf(one, true, []),
    others: [member],
  });
  const send = async (count: number): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    Object.assign(awaited, { count, came: resolve });
    for (let i = 0; i < count; i++) near.send(member.peer, HAVE);
    await promise;
  };
  await send(1);
  const each = (together: number): Promise<number> =>
    cpuOf(TURNS, async () => {
      for (let i = 0; i < TURNS; i++) await send(together);
    });
  const before = process.threadCpuUsage();
  const message = await each(1);
  const { user, system } = process.threadCpuUsage(before);
  const together = await each(TOGETHER);
  const main = (user + system) / 1e3 / TURNS;
  return { message, main, further: Math.max(0, (together - message) / (TOGETHER - 1)) };
}

/** As a table for people. */
export function renderControl({ connection, handshake, message, main, further }: ControlFigures): string {
  const line = (name: string, { median, min, max }: Spread): string =>
    `${name.padEnd(42)}${median.toFixed(3)} (${min.toFixed(3)}–${max.toFixed(3)})\n`;
  return [
    'CPU, ms, both ends together\n',
    line('libp2p connection', connection),
    line('mutual TLS 1.3 connection', handshake),
    line('message on the peer wire', message),
    line('  of this, main threads', main),
    line('each further one in the same turn', further),
  ].join('');
}
