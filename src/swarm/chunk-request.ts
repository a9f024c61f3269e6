/** One request for a chunk, from asking to its end: its answer, a failure, or a time limit. */
import { MIN_TRANSFER_RATE, TRANSFER_RATE_GRACE } from './parameters.ts';
import { SECOND } from '../util/clock.ts';
import type { WeirError } from '../util/errors.ts';
import type { SuspicionReason } from '../cluster/membership.ts';
import type { Member } from '../protocol/member.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ChunkAnswer } from '../transfer/chunk-exchange.ts';
import type { SwarmState } from './swarm-state.ts';

/** The peer is asked as a holder, which said that it has the chunk, or as the chunk's owner. */
export type Role = 'holder' | 'owner';

/**
 * Why there is no answer: no connection, no acknowledgement, no further bytes, too long in the peer's queue, a breach
 * of the protocol, or a thread of this node that has ended, which is held against nobody.
 */
export type RequestFailure = 'unreachable' | 'silent' | 'stalled' | 'queued' | 'protocol' | 'lost';

/** The reason under which a failure is held against the peer. */
export const FAILURE_REASONS: Readonly<Record<Exclude<RequestFailure, 'lost'>, SuspicionReason>> = {
  unreachable: 'unreachable',
  silent: 'unreachable',
  stalled: 'stalled',
  queued: 'stalled',
  protocol: 'protocol',
};

export interface ChunkRequestEvents {
  answered(chunkRequest: ChunkRequest, answer: ChunkAnswer): void;
  /** @param error the client's error; undefined if a time limit passed */
  failed(chunkRequest: ChunkRequest, failure: RequestFailure, error?: WeirError): void;
}

export class ChunkRequest {
  readonly index: number;
  readonly peer: PeerId;
  readonly role: Role;
  readonly startedAt: number;
  /** When a second source was asked last; before that, when the chunk was asked for first. */
  hedgedAt: number;
  readonly #state: SwarmState;
  readonly #events: ChunkRequestEvents;
  readonly #cancel: () => void;
  #connectingAt: number | undefined;
  #sentAt: number | undefined;
  #acknowledgedAt: number | undefined;
  #firstByteAt: number | undefined;
  #lastByteAt: number | undefined;
  #longestGap = 0;
  #bytes = 0;
  #over = false;

  constructor(state: SwarmState, member: Member, index: number, role: Role, events: ChunkRequestEvents) {
    const { swarm, layout, environment, options } = state;
    this.index = index;
    this.peer = member.peer;
    this.role = role;
    this.startedAt = this.hedgedAt = state.now;
    this.#state = state;
    this.#events = events;
    state.chunks.begin(index);
    const request = {
      swarm,
      range: { start: layout.start(index), end: layout.end(index) },
      owner: role === 'owner' ? { ...options.ownerRequest(), size: layout.size } : undefined,
    };
    this.#cancel = environment.client.fetch(member, request, {
      connecting: () => (this.#connectingAt ??= state.now),
      sent: () => (this.#sentAt = state.now),
      acknowledged: () => this.#acknowledged(),
      progressed: (bytes) => this.#progressed(bytes),
      answered: (answer) =>
        this.#end(() => {
          if (this.#bytes > 0) environment.rtt.stall.observe(this.#longestGap);
          this.#events.answered(this, answer);
        }),
      failed: (error) =>
        this.#end(() => this.#events.failed(this, failureOf(error.code, this.#bytes), error)),
    });
  }

  /** Bytes that have come. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Scheduler's milliseconds of the first byte; before it, of now. */
  get firstByteAt(): number {
    return this.#firstByteAt ?? this.#state.now;
  }

  /** When it was sent; before that, when its dial began; before that, now: other dials have their turn. */
  get #leftAt(): number {
    return this.#sentAt ?? this.#connectingAt ?? this.#state.now;
  }

  /** Gives up if a time limit has passed. */
  check(now: number): void {
    if (this.#over) return;
    const failure = this.#fail(now);
    if (failure === undefined) return;
    if (failure === 'silent') this.#learnFromSilence(now);
    this.#cancel();
    this.#end(() => this.#events.failed(this, failure));
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#state.chunks.end(this.index);
    this.#cancel();
  }

  #fail(now: number): RequestFailure | undefined {
    const { contacted, parameters, rtt } = this.#state.environment;
    const { firstContactTimeout, queueTimeout } = parameters;
    // Until it is sent a connection is being made: several round trips, each behind the bytes that fill the links.
    const isSent = this.#sentAt !== undefined && contacted.has(this.peer);
    const ack = isSent ? rtt.ack.limit : Math.max(firstContactTimeout, rtt.ack.limit);
    if (this.#lastByteAt !== undefined)
      return now - this.#lastByteAt > rtt.stall.limit || this.#isCrawling(now) ? 'stalled' : undefined;
    if (this.#acknowledgedAt === undefined) return now - this.#leftAt > ack ? 'silent' : undefined;
    return now - this.#acknowledgedAt > queueTimeout ? 'queued' : undefined;
  }

  /**
   * Counts the silence as one measured time: otherwise nothing would be learnt from requests that were given up, and
   * the limit would stay too short. A peer that was silent before may be dead, and says nothing about the others.
   */
  #learnFromSilence(now: number): void {
    const { contacted, rtt, strikes } = this.#state.environment;
    if (this.#sentAt === undefined || !contacted.has(this.peer) || strikes.has(this.peer)) return;
    rtt.ack.observe(now - this.#sentAt);
  }

  #isCrawling(now: number): boolean {
    const took = now - (this.#firstByteAt ?? now);
    return took > TRANSFER_RATE_GRACE && this.#bytes < (MIN_TRANSFER_RATE * took) / SECOND;
  }

  #acknowledged(): void {
    if (this.#acknowledgedAt !== undefined) return;
    const { now, environment } = this.#state;
    this.#acknowledgedAt = now;
    this.#state.heard(); // it fetches the chunk for us, or we are in its queue
    // A first contact measures handshakes, not how busy the peer is.
    if (environment.contacted.has(this.peer)) environment.rtt.ack.observe(now - this.#leftAt);
  }

  #progressed(bytes: number): void {
    const { now } = this.#state;
    this.#bytes += bytes;
    this.#acknowledged();
    this.#firstByteAt ??= now;
    if (this.#lastByteAt !== undefined) this.#longestGap = Math.max(this.#longestGap, now - this.#lastByteAt);
    this.#lastByteAt = now;
    this.#state.progressed();
  }

  #end(report: () => void): void {
    if (this.#over) return;
    this.#over = true;
    this.#state.chunks.end(this.index);
    report();
  }
}

function failureOf(code: string, bytes: number): RequestFailure {
  if (code === 'peer_protocol') return 'protocol';
  if (code === 'worker_lost') return 'lost';
  return bytes > 0 ? 'stalled' : 'unreachable';
}
