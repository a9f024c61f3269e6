/** The byte workers that speak the peer wire, as the main thread sees them: has them listen and dial, and hears of their connections. */
import type { HttpListener } from '../http/exchange.ts';
import { openAll } from '../http/listen.ts';
import { assertNever, toWeirError, WeirError } from '../util/errors.ts';
import type { Address, Member } from '../protocol/member.ts';
import type { ByteThread, ByteWorkers } from './byte-workers.ts';
import { PeerEnd, PeerThread } from './peer-end.ts';
import type { ConnectionEvent, PeersCommand, PeersEvent } from './peers-messages.ts';
import { SharedPort } from './shared-port.ts';
import { fromWireError } from './wire-error.ts';

/** For each listening address: each takes a file descriptor and, with TLS, some 60 KiB. */
const MAX_CONNECTIONS = 1024;

/** What a connection that is known does. */
export type EndEvent = Exclude<ConnectionEvent, { readonly kind: 'accepted' | 'closed' | 'served' }>;

export interface PeerThreadsOptions {
  readonly workers: ByteWorkers;
  /** What each worker is told first. */
  readonly start: Extract<PeersCommand, { kind: 'start' }>;
  readonly onAccepted: (end: PeerEnd) => void;
  readonly onEvent: (end: PeerEnd, event: EndEvent) => void;
  readonly onWarning: (message: string) => void;
}

interface Call {
  readonly resolve: (bound: Address) => void;
  readonly reject: (error: Error) => void;
}

export class PeerThreads {
  readonly #options: PeerThreadsOptions;
  readonly #threads = new Map<ByteThread, PeerThread>();
  readonly #calls = new Map<number, Call>();
  #next = 0;
  #isStopped = false;

  constructor(options: PeerThreadsOptions) {
    this.#options = options;
    options.workers.onStart((thread) => this.#attach(thread));
  }

  /** Connections to members. */
  get connections(): number {
    let count = 0;
    for (const { ends } of this.#threads.values()) {
      for (const end of ends.values()) if (end.isOpen && !end.isOver) count++;
    }
    return count;
  }

  /** Listens on all addresses, in all workers. @throws WeirError `address_in_use` */
  listen(addresses: readonly Address[], setting: string): Promise<readonly HttpListener[]> {
    const { workers, onWarning } = this.#options;
    return openAll({
      addresses,
      setting,
      onWarning,
      open: (address) => {
        const listener = this.#next++;
        const close = (thread: ByteThread): void => thread.post('peers', { kind: 'close', listener });
        return SharedPort.open(workers, address, {
          open: (thread, at) => this.#listenIn(thread, listener, at),
          close,
          destroy: async (thread) => close(thread),
          warn: onWarning,
        });
      },
    });
  }

  dial({ peer, dataAddresses, fingerprint }: Member, isOtherZone: boolean): PeerEnd {
    const thread = this.#threads.get(this.#options.workers.next());
    if (thread === undefined) throw new WeirError('internal', 'a byte worker is not known');
    const end = new PeerEnd(thread, 2 * this.#next++);
    end.peer = peer;
    // A copy: a fingerprint that was decoded is a part of its message, and all of that would be cloned.
    end.fingerprint = new Uint8Array(fingerprint);
    end.order({ kind: 'dial', target: { peer, dataAddresses, fingerprint: end.fingerprint }, isOtherZone });
    return end;
  }

  stop(): void {
    this.#isStopped = true;
    for (const thread of this.#options.workers.threads) thread.post('peers', { kind: 'stop' });
  }

  #listenIn(thread: ByteThread, listener: number, { host, port }: Address): Promise<Address> {
    const { promise, resolve, reject } = Promise.withResolvers<Address>();
    const call = this.#next++;
    this.#calls.set(call, { resolve, reject });
    thread.onLost(reject);
    const maxConnections = Math.ceil(MAX_CONNECTIONS / this.#options.workers.threads.length);
    thread.post('peers', { kind: 'listen', call, listener, host, port, maxConnections });
    return promise;
  }

  #attach(thread: ByteThread): void {
    if (this.#isStopped) return;
    const known = new PeerThread(thread);
    this.#threads.set(thread, known);
    thread.handle('peers', (event) => this.#receive(known, event));
    thread.onLost((error) => {
      this.#threads.delete(thread);
      for (const end of known.ends.values()) end.lost(error);
    });
    thread.post('peers', this.#options.start);
  }

  #receive(thread: PeerThread, event: PeersEvent): void {
    switch (event.kind) {
      case 'events':
        for (const each of event.events) this.#onEvent(thread, each);
        return;
      case 'listening':
        this.#calls.get(event.call)?.resolve({ host: event.host, port: event.port });
        break;
      case 'failed':
        this.#calls.get(event.call)?.reject(fromWireError(event.error));
        break;
      default:
        assertNever(event);
    }
    this.#calls.delete(event.call);
  }

  #onEvent(thread: PeerThread, event: ConnectionEvent): void {
    const { connection } = event;
    if (event.kind === 'accepted') {
      return this.#options.onAccepted(new PeerEnd(thread, connection, event.remoteAddress));
    }
    const end = thread.ends.get(connection);
    if (end === undefined) return;
    if (event.kind === 'closed') end.closed(toWeirError(fromWireError(event.error)));
    else if (event.kind === 'served')
      end.serving.get(event.id)?.done(event.sent, event.error && fromWireError(event.error));
    else this.#options.onEvent(end, event);
  }
}
