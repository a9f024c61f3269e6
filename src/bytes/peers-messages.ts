/**
 * The part of a byte worker that speaks the peer wire: it owns the connections to members, receives chunks into its memory
 * and sends them out of files. Which member is asked what, and what a member gets, the main thread decides.
 *
 * ```
 * main     dial {connection 4, member}              ──►
 *          ◄── open {connection 4}                       the member has admitted this node
 *          request {connection 4, id 0, frame}      ──►
 *          ◄── answered {connection 4, id 0, place, hash}
 *          ◄── frame {connection 4, a message or request of the member}
 *          serve {connection 4, id 9, head, file, 0 to n} ──►
 *          ◄── served {connection 4, id 9}
 * ```
 *
 * Orders and events of one turn of the event loop travel together.
 */
import type { Member } from '../protocol/member.ts';
import type { PresentedCertificate } from '../transfer/admission.ts';
import type { FrameKind } from '../transfer/frames.ts';
import type { KeyPair } from '../transfer/limits.ts';
import type { Hello } from '../transfer/wire-codec.ts';
import type { ReceivedAnswer } from './chunk-receiver.ts';
import type { SharedLimits } from './peer-limits.ts';
import type { SentPart } from './sent-part.ts';
import type { WireError } from './wire-error.ts';

/** What has to be known of a member to connect to it. */
export type DialTarget = Pick<Member, 'peer' | 'dataAddresses' | 'fingerprint'>;

/** What is done with a connection. `connection` names it in its worker. */
export type ConnectionOrder = { readonly connection: number } & (
  | { readonly kind: 'dial'; readonly target: DialTarget; readonly isOtherZone: boolean }
  /** A member has opened it. */
  | { readonly kind: 'admit'; readonly isOtherZone: boolean }
  /** Closes it at once. */
  | { readonly kind: 'cut' }
  /** Closes it as soon as nothing is under way. */
  | { readonly kind: 'retire' }
  /** Sends whole frames. */
  | { readonly kind: 'write'; readonly frames: Uint8Array }
  | {
      readonly kind: 'request';
      readonly id: number;
      readonly frame: Uint8Array;
      /** Bytes that are asked for; undefined: a whole blob. */
      readonly length: number | undefined;
    }
  | { readonly kind: 'cancel'; readonly id: number; readonly frame: Uint8Array }
  | ({ readonly kind: 'serve'; readonly id: number } & ServedPart)
  /** Ends the sending at the next buffer. */
  | { readonly kind: 'unserve'; readonly id: number }
  /** So many bytes of frames have been dealt with, with their heads. */
  | { readonly kind: 'taken'; readonly bytes: number }
);

/** A chunk to be sent: the frame that announces it, and its bytes. */
export interface ServedPart extends Omit<SentPart, 'content'> {
  readonly head: Uint8Array;
  readonly content: SentPart['content'] | Uint8Array;
}

export type PeersCommand =
  /** Comes before all others. */
  | {
      readonly kind: 'start';
      /** The frame with which this node greets. */
      readonly hello: Uint8Array;
      /** Its certificate; undefined: plain TCP. */
      readonly tls: KeyPair | undefined;
      readonly limits: SharedLimits;
      /** Milliseconds in which a peer must take a buffer of a chunk. */
      readonly readerTimeout: number;
    }
  /** Answered with `listening` or `failed`. */
  | {
      readonly kind: 'listen';
      readonly call: number;
      readonly listener: number;
      readonly host: string;
      readonly port: number;
      readonly maxConnections: number;
    }
  /** Takes no more connections. Those that are there stay. */
  | { readonly kind: 'close'; readonly listener: number }
  | { readonly kind: 'orders'; readonly orders: readonly ConnectionOrder[] }
  /** Closes everything. */
  | { readonly kind: 'stop' };

/** What a connection does. */
export type ConnectionEvent = { readonly connection: number } & (
  | {
      readonly kind: 'accepted';
      readonly listener: number;
      readonly remoteAddress: string;
    }
  /** The peer that opened it says who it is; answered with `admit` or `cut`. */
  | {
      readonly kind: 'greeted';
      readonly hello: Hello;
      readonly certificate: PresentedCertificate | undefined;
    }
  /** A dial has left the queue of dials. */
  | { readonly kind: 'connecting' }
  /** The dialled member has admitted this node. */
  | { readonly kind: 'open'; readonly hello: Hello }
  | { readonly kind: 'closed'; readonly error: WireError }
  /** A frame that the main thread deals with. */
  | { readonly kind: 'frame'; readonly frame: FrameKind; readonly body: Uint8Array }
  | { readonly kind: 'acknowledged'; readonly id: number }
  /** So many more bytes have come. At most every 50 ms for each request. */
  | { readonly kind: 'progressed'; readonly id: number; readonly bytes: number }
  /** `bytes` were not reported before. A chunk stays in the worker until its place is given back. */
  | {
      readonly kind: 'answered';
      readonly id: number;
      readonly bytes: number;
      readonly answer: ReceivedAnswer;
    }
  /** Nothing of the chunk is read any more. */
  | {
      readonly kind: 'served';
      readonly id: number;
      readonly sent: number;
      readonly error: WireError | undefined;
    }
);

export type PeersEvent =
  | { readonly kind: 'listening'; readonly call: number; readonly host: string; readonly port: number }
  | { readonly kind: 'failed'; readonly call: number; readonly error: WireError }
  | { readonly kind: 'events'; readonly events: readonly ConnectionEvent[] };
