/** The part of a byte worker that asks other members for chunks: what it is told, and what it reports. */
import type { PeerId } from '../protocol/peer-id.ts';
import type { ChunkFetch } from '../transfer/chunk-exchange.ts';
import type { ReceivedAnswer } from '../transfer/chunk-receiver.ts';
import type { KeyPair } from '../transfer/data-port.ts';
import type { DialTarget } from '../transfer/member-connections.ts';
import type { WireError } from './wire-error.ts';

/** A limit on a rate that holds for all workers together (util/token-bucket.ts). */
export interface SharedLimit {
  /** Bytes per second, above 0. */
  readonly rate: number;
  readonly memory: SharedArrayBuffer;
}

export type PeersCommand =
  /** Comes before all others. */
  | {
      readonly kind: 'start';
      /** This node's peer ID. */
      readonly self: PeerId;
      /** Its certificate; undefined: plain TCP. */
      readonly tls: KeyPair | undefined;
      readonly download: SharedLimit | undefined;
    }
  /** Ended by one `answered` or `failed`, unless it is cancelled before. `call` names the request. */
  | {
      readonly kind: 'fetch';
      readonly call: number;
      readonly member: DialTarget;
      readonly request: ChunkFetch;
    }
  | { readonly kind: 'cancel'; readonly call: number }
  /** Answers `introduce`: the member has this node's record, or could not be given it. */
  | { readonly kind: 'introduced'; readonly call: number }
  /** Ends all requests and connections. */
  | { readonly kind: 'stop' };

/** The end of a request, with the bytes that were not reported before. */
interface End {
  readonly call: number;
  readonly bytes: number;
}

export type PeersEvent =
  | { readonly kind: 'connecting' | 'sent' | 'acknowledged'; readonly call: number }
  /** So many more bytes have come. At most every 50 ms for each request. */
  | { readonly kind: 'progressed'; readonly call: number; readonly bytes: number }
  /** A chunk stays in the worker until its place is given back; a whole blob, a document, is transferred. */
  | (End & { readonly kind: 'answered'; readonly answer: ReceivedAnswer })
  | (End & { readonly kind: 'failed'; readonly error: WireError })
  /** The member does not know this node: its record has to be sent to it. Answered with `introduced`. */
  | { readonly kind: 'introduce'; readonly call: number; readonly peer: PeerId }
  /** This worker has no connection to the member any more, and no request for it. */
  | { readonly kind: 'idle'; readonly peer: PeerId };
