/** The part of a byte worker that speaks the peer wire: its listeners, its dials, and its connections. */
import type { Socket } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import PQueue from 'p-queue';
import { MILLISECOND, SECOND, systemClock } from '../util/clock.ts';
import { assertNever, toWeirError, WeirError } from '../util/errors.ts';
import { dial, type Wire } from '../transfer/dial.ts';
import { CIPHERS } from '../transfer/limits.ts';
import { BodyBuffers } from './body-buffers.ts';
import type { Part, Post } from './byte-worker.ts';
import type { ChunkPlaces } from './chunk-places.ts';
import { PeerConnection } from './peer-connection.ts';
import type { PeerConnectionOptions } from './peer-connection-options.ts';
import { limitsOf } from './peer-limits.ts';
import { PeerListener, presentedBy } from './peer-listener.ts';
import type { ConnectionEvent, ConnectionOrder, PeersCommand } from './peers-messages.ts';
import { toWireError } from './wire-error.ts';

/**
 * Connections that one worker makes at a time, to all members. A handshake costs some milliseconds of CPU at both ends; if
 * CPU is short, many handshakes at once would all exceed their time limit.
 */
const DIALS_AT_ONCE = 8;
const TICK = SECOND;
/** Between two reports of the bytes that have come: a message for each read would cost more than the read. */
const REPORT_INTERVAL = 50 * MILLISECOND;

type Command<Kind extends PeersCommand['kind']> = Extract<PeersCommand, { kind: Kind }>;
type Dial = Extract<ConnectionOrder, { kind: 'dial' }>;

interface Settings extends Pick<PeerConnectionOptions, 'hello' | 'limits' | 'readerTimeout'> {
  readonly tls: Command<'start'>['tls'];
  readonly context: SecureContext | undefined;
}

/** A connection that is being made, in either direction. */
interface Pending {
  readonly cut: () => void;
}

export class PeersPart implements Part<'peers'> {
  readonly #post: Post<'peers'>;
  readonly #places: ChunkPlaces;
  readonly #buffers = new BodyBuffers();
  readonly #dials = new PQueue({ concurrency: DIALS_AT_ONCE });
  readonly #listeners = new Map<number, PeerListener>();
  readonly #pending = new Map<number, Pending>();
  readonly #connections = new Map<number, PeerConnection>();
  /** Accepted connections have odd numbers, and those that this node dialled even ones. */
  #nextAccepted = 1;
  #settings: Settings | undefined;
  #ticks: NodeJS.Timeout | undefined;
  #reports: NodeJS.Timeout | undefined;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #events: ConnectionEvent[] = [];
  #transfer: ArrayBuffer[] = [];
  #isStopped = false;

  constructor(post: Post<'peers'>, places: ChunkPlaces) {
    this.#post = post;
    this.#places = places;
  }

  receive(command: PeersCommand): void {
    switch (command.kind) {
      case 'start':
        this.#settings = settingsOf(command);
        return;
      case 'listen':
        void this.#listen(command);
        return;
      case 'close':
        this.#listeners.get(command.listener)?.close();
        this.#listeners.delete(command.listener);
        return;
      case 'orders':
        for (const order of command.orders) this.#do(order);
        return;
      case 'stop':
        void this[Symbol.asyncDispose]();
        return;
      default:
        assertNever(command);
    }
  }

  #do(order: ConnectionOrder): void {
    if (order.kind === 'dial') return void this.#dial(order);
    const connection = this.#connections.get(order.connection);
    if (connection !== undefined) return connection.do(order);
    if (order.kind === 'cut' || order.kind === 'retire') this.#pending.get(order.connection)?.cut();
    if (order.kind !== 'serve') return;
    const error = toWireError(new WeirError('aborted', 'the peer closed the connection'));
    this.#tell({ kind: 'served', connection: order.connection, id: order.id, sent: 0, error });
  }

  /** Never rejects. */
  async #listen({ call, listener: id, host, port, maxConnections }: Command<'listen'>): Promise<void> {
    const numbers = new Map<Socket, number>();
    try {
      const listener = await PeerListener.open({
        host,
        port,
        maxConnections,
        tls: this.#settings?.tls,
        onAccepted: (socket) => {
          const connection = this.#nextAccepted;
          this.#nextAccepted += 2;
          numbers.set(socket, connection);
          this.#accepted(connection, id, socket);
          socket.once('close', () => numbers.delete(socket));
        },
        onReady: (accepted, socket) => {
          const connection = numbers.get(accepted);
          if (connection === undefined) socket.destroy();
          else this.#ready(connection, socket);
        },
      });
      this.#listeners.set(id, listener);
      if (this.#isStopped) listener.close();
      const { address, port: bound } = listener.address;
      this.#post({ kind: 'listening', call, host: address, port: bound });
    } catch (error) {
      this.#post({ kind: 'failed', call, error: toWireError(error) });
    }
  }

  #accepted(connection: number, listener: number, socket: Socket): void {
    const { remoteAddress = '' } = socket;
    this.#tell({ kind: 'accepted', connection, listener, remoteAddress });
    this.#pending.set(connection, { cut: () => socket.destroy() });
    socket.once('close', () => {
      if (!this.#pending.delete(connection)) return; // told by its own end
      const error = toWireError(new WeirError('peer_cut', 'it was closed before its greeting'));
      this.#tell({ kind: 'closed', connection, error });
    });
  }

  /** Over the socket of a connection that was accepted, frames can be sent. */
  #ready(connection: number, socket: Socket): void {
    this.#pending.delete(connection);
    const opened = this.#open(connection, socket, (hello) => {
      this.#tell({ kind: 'greeted', connection, hello, certificate: presentedBy(socket) });
    });
    socket.on('data', (bytes: Buffer) => opened.read(bytes));
  }

  /** Never rejects. */
  async #dial({ connection, target, isOtherZone }: Dial): Promise<void> {
    const over = new AbortController();
    const given = new WeirError('aborted', 'the dial was given up');
    this.#pending.set(connection, { cut: () => over.abort(given) });
    try {
      const wire = await this.#dials.add(() => this.#connect(connection, target, over.signal), {
        signal: over.signal,
      });
      this.#pending.delete(connection);
      const opened = this.#open(connection, wire.socket, undefined, isOtherZone);
      wire.reader = (bytes) => opened.read(bytes);
    } catch (error) {
      this.#pending.delete(connection);
      this.#tell({ kind: 'closed', connection, error: toWireError(toWeirError(error)) });
    }
  }

  /** @throws WeirError as {@link dial} */
  async #connect(connection: number, target: Dial['target'], signal: AbortSignal): Promise<Wire> {
    this.#tell({ kind: 'connecting', connection });
    const context = this.#settings?.context;
    const expected = context && { fingerprint: target.fingerprint, context };
    return await dial(target.dataAddresses, expected, systemClock, { signal });
  }

  #open(
    connection: number,
    socket: Socket,
    onHello: PeerConnectionOptions['onHello'],
    isOtherZone = false,
  ): PeerConnection {
    const settings = this.#settings;
    if (settings === undefined) throw new WeirError('internal', 'the peer wire has not been started');
    const opened = new PeerConnection({
      ...settings,
      socket,
      hasDialled: onHello === undefined,
      isOtherZone,
      post: (event, transfer) => this.#tell({ ...event, connection }, transfer),
      places: this.#places,
      buffers: this.#buffers,
      clock: systemClock,
      onHello,
      onClosed: () => this.#forget(connection),
      onProgress: () => this.#reportSoon(),
    });
    this.#connections.set(connection, opened);
    this.#ticks ??= setInterval(() => this.#tick(), TICK);
    return opened;
  }

  #tick(): void {
    for (const connection of this.#connections.values()) connection.tick();
  }

  /** At once if it was not done lately, so that the first byte is told of. */
  #reportSoon(): void {
    const wait = Math.max(0, this.#reportedAt + REPORT_INTERVAL - performance.now());
    this.#reports ??= setTimeout(() => {
      this.#reports = undefined;
      this.#reportedAt = performance.now();
      for (const connection of this.#connections.values()) connection.report();
    }, wait);
  }

  #forget(connection: number): void {
    this.#connections.delete(connection);
    if (this.#connections.size > 0) return;
    clearInterval(this.#ticks);
    this.#ticks = undefined;
  }

  /** Events of one turn leave together. */
  #tell(event: ConnectionEvent, transfer: readonly ArrayBuffer[] = []): void {
    if (this.#events.length === 0) setImmediate(() => this.#flush());
    this.#events.push(event);
    this.#transfer.push(...transfer);
  }

  #flush(): void {
    const events = this.#events;
    const transfer = this.#transfer;
    this.#events = [];
    this.#transfer = [];
    this.#post({ kind: 'events', events }, transfer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#reports);
    for (const listener of this.#listeners.values()) listener.close();
    this.#listeners.clear();
    for (const { cut } of this.#pending.values()) cut();
    const error = new WeirError('aborted', 'the node stops');
    for (const connection of this.#connections.values()) connection.close(error);
  }
}

function settingsOf({ hello, tls, limits, readerTimeout }: Command<'start'>): Settings {
  const context = tls && createSecureContext({ ...tls, minVersion: 'TLSv1.3', ciphers: CIPHERS });
  return { hello, tls, context, limits: limitsOf(limits, systemClock), readerTimeout };
}
