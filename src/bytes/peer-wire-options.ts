/** What the peer wire is made from, and what it reports. */
import type { Clock } from '../util/clock.ts';
import type { WeirError } from '../util/errors.ts';
import type { Address } from '../protocol/member.ts';
import type { SwarmMessage } from '../protocol/messages.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { KnownMembers, Refusal } from '../transfer/admission.ts';
import type { ChunkSource } from '../transfer/chunk-exchange.ts';
import type { KeyPair } from '../transfer/limits.ts';
import type { ByteWorkers } from './byte-workers.ts';
import type { PeerRates } from './peer-limits.ts';
import type { AnswerQuestion } from './peer-questions.ts';
import type { ServedReport } from './peer-serving.ts';

export interface PeerWireObserver {
  /** A connection was cut off. @param address its remote address */
  refused(reason: Refusal, address: string): void;
  served(report: ServedReport): void;
}

export interface PeerWireOptions {
  readonly workers: ByteWorkers;
  readonly listen: readonly Address[];
  /** This node's peer ID. */
  readonly self: PeerId;
  /** This node's certificate; undefined: plain TCP, for a trusted network. */
  readonly tls: KeyPair | undefined;
  readonly members: KnownMembers;
  readonly source: ChunkSource;
  readonly rates?: PeerRates | undefined;
  /** Default: all members are of this node's zone. */
  readonly isOtherZone?: ((peer: PeerId) => boolean) | undefined;
  readonly clock: Clock;
  readonly observer: PeerWireObserver;
  /** Sends this node's record to a member that cut a connection off at once, as members do with strangers. */
  readonly introduce: (peer: PeerId) => Promise<void>;
  readonly onMessage: (peer: PeerId, message: SwarmMessage) => void;
  readonly onQuestion: AnswerQuestion;
  /** Takes an order and replies with its progress; undefined: there is no reply. */
  readonly onOrder?: AnswerQuestion | undefined;
  /** It has been connected to. */
  readonly onReached: (peer: PeerId) => void;
  /** It cannot be connected to, or takes nothing. What was to be said to it is lost. */
  readonly onUnreachable: (peer: PeerId, error: WeirError) => void;
  /** It has broken the protocol. */
  readonly onBroken: (peer: PeerId, error: WeirError) => void;
  /** It has closed a connection that was in use. */
  readonly onGone: (peer: PeerId) => void;
  readonly onWarning: (message: string) => void;
  /** Milliseconds in which a peer must take a buffer of 256 KiB. */
  readonly readerTimeout?: number | undefined;
}
