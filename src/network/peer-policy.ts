/**
 * Decides which behaviour at this node makes a peer a suspect, and cuts the connections of suspects and banned peers.
 */
import { connect } from 'node:net';
import type { Connection } from '@libp2p/interface';
import type { Clock } from '../util/clock.ts';
import { hostPortOf } from '../util/ip-address.ts';
import { isWeirError, WeirError } from '../util/errors.ts';
import type { SuspicionReason } from '../cluster/membership.ts';
import type { MemberTable } from '../cluster/member-table.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { Dialer } from './dialer.ts';
import { ADDRESS_DIAL_TIMEOUT, PROBE_SPREAD } from './limits.ts';
import type { NetworkLogger } from './network-options.ts';

/** libp2p drops the younger of two connections to one address at once; a connection that lived longer was in use. */
const IN_USE_AFTER = 1000;

/** Errors of libp2p that say no more than that a stream, or what carries it, is over. */
const OF_STREAMS = /^(?:Stream|Connection|Muxer)\w*Error$/;

export interface PeerPolicyOptions {
  readonly table: MemberTable;
  readonly dialer: Dialer;
  readonly clock: Clock;
  readonly logger: NetworkLogger;
  /** Aborted when this node stops: failures after that say nothing about peers. */
  readonly stopped: AbortSignal;
  /** Drops the messages that wait for this peer. */
  readonly drop: (peer: PeerId, reason: WeirError) => void;
  readonly onUnreachable: (peer: PeerId) => void;
}

export class PeerPolicy {
  readonly #options: PeerPolicyOptions;

  constructor(options: PeerPolicyOptions) {
    this.#options = options;
  }

  /** Whether connections of this peer are refused. */
  static isRefused(table: MemberTable, peer: PeerId): boolean {
    return table.isBanned(peer) || table.suspicion(peer) === 'protocol';
  }

  /** A message to the peer could not be delivered. */
  unreachable(peer: PeerId, error: unknown): void {
    const { table, onUnreachable, logger, stopped } = this.#options;
    if (stopped.aborted) return;
    if (!table.isBanned(peer)) table.suspect(peer, reasonOf(error));
    logger.debug({ peer, err: error }, 'peer cannot be reached');
    onUnreachable(peer);
  }

  /** A stream that this peer opened was aborted. A peer that breaks the protocol is kept off for a while. */
  aborted(peer: PeerId | undefined, error: unknown): void {
    const { table, logger, stopped } = this.#options;
    if (stopped.aborted) return;
    const isUsual = isWeirError(error) || (error instanceof Error && OF_STREAMS.test(error.name));
    if (isUsual) logger.debug({ peer, err: error }, "a peer's stream was aborted");
    else logger.warn({ peer, err: error }, "a peer's stream failed here");
    if (peer === undefined || !isWeirError(error, 'peer_protocol')) return;
    table.suspect(peer, 'protocol');
    if (PeerPolicy.isRefused(table, peer)) this.hangUp(peer, error);
  }

  banned(peer: PeerId): void {
    this.hangUp(peer, new WeirError('peer_refused', `${peer} is banned`));
  }

  hangUp(peer: PeerId, reason: WeirError): void {
    const { drop, dialer } = this.#options;
    drop(peer, reason);
    for (const connection of dialer.connections(peer)) connection.abort(reason);
  }

  /**
   * One of a peer's connections is gone. If both sides dialled at one time there is a second one. But gossipsub keeps
   * its stream on one connection and opens no other: without this no gossip would reach that peer any more.
   */
  closed(peer: PeerId, { timeline }: Connection): void {
    if (Date.now() - timeline.open < IN_USE_AFTER) return;
    for (const other of this.#options.dialer.connections(peer)) {
      other.abort(new WeirError('peer_cut', 'another connection to this peer was cut'));
    }
  }

  /**
   * The last connection is gone: the peer was killed, or it hung up. Nothing is asked of a peer that does not listen
   * any more.
   */
  async disconnected(peer: PeerId): Promise<void> {
    const { clock, table, stopped, dialer } = this.#options;
    await clock.sleep(clock.random() * PROBE_SPREAD, { signal: stopped });
    const member = table.get(peer);
    if (member === undefined || member.leaving || table.suspicion(peer) !== undefined) return;
    if (dialer.isConnected(peer)) return;
    if (await isListening(member.controlAddresses, ADDRESS_DIAL_TIMEOUT)) return;
    this.unreachable(peer, new WeirError('peer_unreachable', `${peer} does not listen any more`));
  }
}

function reasonOf(error: unknown): SuspicionReason {
  if (isWeirError(error, 'peer_protocol')) return 'protocol';
  return isWeirError(error, 'peer_stalled') ? 'stalled' : 'unreachable';
}

/**
 * @param timeout milliseconds for each address
 * @returns whether any address accepts a TCP connection
 */
export async function isListening(addresses: readonly string[], timeout: number): Promise<boolean> {
  for (const address of addresses) {
    const found = hostPortOf(address);
    if (found !== undefined && (await canConnect(found.host, Number(found.port), timeout))) return true;
  }
  return false;
}

function canConnect(host: string, port: number, timeout: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ host, port, timeout });
  const end = (isThere: boolean): void => {
    socket.destroy();
    resolve(isThere);
  };
  socket.once('connect', () => end(true));
  socket.once('timeout', () => end(false));
  socket.once('error', () => end(false));
  return promise;
}
