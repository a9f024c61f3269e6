/**
 * The part of a byte worker that speaks HTTP: it listens, and sends what the main thread answers.
 *
 * ```
 * worker   request {exchange 7, GET /v2/…}                  ──►
 *          ◄── send {exchange 7, head, content, 0 to n}         main: the caller may have it
 *          done {exchange 7, position n, the head has left} ──►
 *          gone {exchange 7}                                ──► the response is over
 * ```
 */
import type { ExchangeRequest, ServerLimits } from '../http/exchange.ts';
import type { SentPart } from './sent-part.ts';
import type { WireError } from './wire-error.ts';

/** It leaves with the first bytes of the body, or with the end. */
export interface Head {
  readonly status: number;
  readonly headers: readonly (readonly [string, string | number])[];
}

export interface ListenCommand {
  readonly kind: 'listen';
  readonly call: number;
  /** Names the listener in all workers. */
  readonly listener: number;
  readonly host: string;
  readonly port: number;
  readonly limits: ServerLimits;
}

export interface WriteCommand {
  readonly kind: 'write';
  readonly exchange: number;
  readonly call: number;
  readonly head: Head | undefined;
  readonly bytes: Uint8Array;
}

export interface SendCommand extends SentPart {
  readonly kind: 'send';
  readonly exchange: number;
  readonly call: number;
  readonly head: Head | undefined;
}

export interface EndCommand {
  readonly kind: 'end';
  readonly exchange: number;
  readonly head: Head | undefined;
  readonly body: string | Uint8Array | undefined;
}

/** What is done to a response. Writes and sends of one response are done one after the other, and answered with `done`. */
export type ExchangeCommand =
  | WriteCommand
  | SendCommand
  | EndCommand
  /** Ends the send with this number at the next buffer. */
  | { readonly kind: 'stop'; readonly exchange: number; readonly call: number }
  | { readonly kind: 'processing'; readonly exchange: number }
  | { readonly kind: 'closeShort'; readonly exchange: number };

export type HttpCommand =
  | ListenCommand
  /** Takes no more connections, and closes those that are idle. */
  | { readonly kind: 'close'; readonly listener: number }
  /** Closes all connections, too. Answered with `closed`. */
  | { readonly kind: 'destroy'; readonly call: number; readonly listener: number }
  | ExchangeCommand;

export interface RequestEvent extends ExchangeRequest {
  readonly kind: 'request';
  readonly listener: number;
  /** Names request and response in this worker. */
  readonly exchange: number;
}

export interface DoneEvent {
  readonly kind: 'done';
  readonly exchange: number;
  readonly call: number;
  /** Bytes of the body that were handed to the connection so far. */
  readonly sent: number;
  /** Of a send: the position behind its last byte. */
  readonly position: number;
  readonly isHeadSent: boolean;
  /** All that Content-Length announces has been sent, so the response has ended. */
  readonly isEnded: boolean;
  readonly error: WireError | undefined;
}

export type HttpEvent =
  | { readonly kind: 'listening'; readonly call: number; readonly host: string; readonly port: number }
  | { readonly kind: 'closed'; readonly call: number }
  | { readonly kind: 'failed'; readonly call: number; readonly error: WireError }
  | RequestEvent
  | DoneEvent
  /** Bytes of the body so far, at most once a second. */
  | { readonly kind: 'sent'; readonly exchange: number; readonly sent: number }
  /** A send has waited a tenth of a second for the byte at `position`; once for each wait. */
  | {
      readonly kind: 'waiting';
      readonly exchange: number;
      readonly call: number;
      readonly position: number;
    }
  /** The response is over: ended, or its connection is closed. Writes and sends that are not done yet are done later. */
  | { readonly kind: 'gone'; readonly exchange: number; readonly isComplete: boolean };
