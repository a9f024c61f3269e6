/** One request for a chunk, from asking to its end: its answer, a failure, or a time limit. */
import { KIB, SECOND } from '../util/clock.ts';
import type { WeirError } from '../util/errors.ts';
import type { SuspicionReason } from '../cluster/membership.ts';
import type { Member } from '../protocol/member.ts';
import type { PeerName } from '../protocol/peer-id.ts';
import type { PieceAnswer } from '../transfer/chunk-exchange.ts';
import type { SwarmState } from './swarm-state.ts';

/**
 * Bytes per second below which a transfer counts as stalled although bytes come: whoever sends a byte now and then
 * would hold up all for whom it is the only source. A third of what the lowest `--max-upload` leaves to a slot.
 */
const CRAWLING: number = 16 * KIB;
/** Milliseconds after the first byte in which the rate is not looked at. */
const CRAWLING_AFTER: number = 2 * SECOND;

/** How the asked one is asked: as somebody who said that it has the chunk, or as the chunk's home. */
export type Role = 'holder' | 'home';

/** Why there is no answer: nothing at all came, it stopped in the middle, it queued us for too long, it broke the rules. */
export type Lapse = 'unreachable' | 'silent' | 'stalled' | 'queued' | 'protocol';

/** What each lapse is held against the peer as. */
export const LAPSE_REASONS: Readonly<Record<Lapse, SuspicionReason>> = {
  unreachable: 'unreachable',
  silent: 'unreachable',
  stalled: 'stalled',
  queued: 'stalled',
  protocol: 'protocol',
};

export interface AskingEvents {
  answered(asking: Asking, answer: PieceAnswer): void;
  /** @param error what the client said, where it was no time limit */
  lapsed(asking: Asking, lapse: Lapse, error?: WeirError): void;
}

export class Asking {
  readonly index: number;
  readonly peer: PeerName;
  readonly role: Role;
  readonly startedAt: number;
  readonly #state: SwarmState;
  readonly #events: AskingEvents;
  readonly #cancel: () => void;
  #connectingAt: number | undefined;
  #sentAt: number | undefined;
  #acknowledgedAt: number | undefined;
  #firstByteAt: number | undefined;
  #lastByteAt: number | undefined;
  #longestGap = 0;
  #bytes = 0;
  #over = false;

  constructor(state: SwarmState, member: Member, index: number, role: Role, events: AskingEvents) {
    const { swarm, layout, environment, options } = state;
    this.index = index;
    this.peer = member.peer;
    this.role = role;
    this.startedAt = state.now;
    this.#state = state;
    this.#events = events;
    state.began(index);
    const request = {
      swarm,
      range: { start: layout.start(index), end: layout.end(index) },
      home: role === 'home' ? { ...options.home(), size: layout.size } : undefined,
    };
    this.#cancel = environment.client.fetch(member, request, {
      connecting: () => (this.#connectingAt ??= state.now),
      sent: () => (this.#sentAt = state.now),
      acknowledged: () => this.#acknowledged(),
      progressed: (bytes) => this.#progressed(bytes),
      answered: (answer) =>
        this.#end(() => {
          if (this.#bytes > 0) environment.pace.stall.observe(this.#longestGap);
          this.#events.answered(this, answer);
        }),
      failed: (error) => this.#end(() => this.#events.lapsed(this, lapseOf(error.code, this.#bytes), error)),
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

  /** When it was sent; before that, since when a connection is being made; before that, now: others have their turn. */
  get #leftAt(): number {
    return this.#sentAt ?? this.#connectingAt ?? this.#state.now;
  }

  /** Gives up where a limit has passed. */
  check(now: number): void {
    if (this.#over) return;
    const lapse = this.#lapse(now);
    if (lapse === undefined) return;
    if (lapse === 'silent') this.#learnFromSilence(now);
    this.#cancel();
    this.#end(() => this.#events.lapsed(this, lapse));
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#state.ended(this.index);
    this.#cancel();
  }

  #lapse(now: number): Lapse | undefined {
    const { acquainted, parameters, pace } = this.#state.environment;
    const { firstContact, queued } = parameters;
    // Before it is sent a connection is being made: that takes several ways, each behind what fills the links.
    const isSent = this.#sentAt !== undefined && acquainted.has(this.peer);
    const ack = isSent ? pace.ack.limit : Math.max(firstContact, pace.ack.limit);
    if (this.#lastByteAt !== undefined)
      return now - this.#lastByteAt > pace.stall.limit || this.#isCrawling(now) ? 'stalled' : undefined;
    if (this.#acknowledgedAt === undefined) return now - this.#leftAt > ack ? 'silent' : undefined;
    return now - this.#acknowledgedAt > queued ? 'queued' : undefined;
  }

  /**
   * It takes at least so long: from what was given up nothing else would be learnt, and the limit stay too short for all
   * that take longer. Who was silent before may be dead, and says nothing about the others.
   */
  #learnFromSilence(now: number): void {
    const { acquainted, pace, slack } = this.#state.environment;
    if (this.#sentAt === undefined || !acquainted.has(this.peer) || slack.has(this.peer)) return;
    pace.ack.observe(now - this.#sentAt);
  }

  #isCrawling(now: number): boolean {
    const took = now - (this.#firstByteAt ?? now);
    return took > CRAWLING_AFTER && this.#bytes < (CRAWLING * took) / SECOND;
  }

  #acknowledged(): void {
    if (this.#acknowledgedAt !== undefined) return;
    const { now, environment } = this.#state;
    this.#acknowledgedAt = now;
    this.#state.heard(); // it is at the registry for us, or we are in its queue
    // A first contact tells of handshakes, not of how busy the other one is.
    if (environment.acquainted.has(this.peer)) environment.pace.ack.observe(now - this.#leftAt);
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

  #end(tell: () => void): void {
    if (this.#over) return;
    this.#over = true;
    this.#state.ended(this.index);
    tell();
  }
}

function lapseOf(code: string, bytes: number): Lapse {
  if (code === 'peer_protocol') return 'protocol';
  return bytes > 0 ? 'stalled' : 'unreachable';
}
