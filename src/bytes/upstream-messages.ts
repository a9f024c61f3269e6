/**
 * The part of a byte worker that reads from registries: what it is told, and what it answers.
 *
 * ```
 * main                                              worker
 *   send ─────────────────────────────────────────►   undici
 *   ◄───────────────────── head (status, headers), or failed: the call is over
 *   discard: the call is over. Or one of pour, collect, pass:
 *   pour    ◄── progress (written, whole chunks) ──   a file, up to its credit; credit, refuse ──►
 *   collect ◄── want, chunk, progress ─────────────   places in memory; begin ──►
 *   pass    ◄── progress ──────────────────────────   the client of an exchange in the same worker
 *   ◄──────────────────────────────── ended: nothing is written any more, and the call is over
 * ```
 */
import type { BlobPart } from '../upstream/blob-part.ts';
import type { Headers } from '../upstream/response.ts';
import type { OutgoingRequest } from '../upstream/transport.ts';
import type { BlobSettings } from '../upstream/blob-transport.ts';
import type { FileContent } from '../util/content.ts';
import type { PassOptions } from './pass.ts';
import type { WireError } from './wire-error.ts';

/** A body is poured into a file. */
export interface PourCommand {
  readonly kind: 'pour';
  readonly call: number;
  readonly part: BlobPart;
  readonly file: FileContent;
  /** Bytes of the blob before which it may write: its credit. */
  readonly reserved: number;
}

/** A body is put together in places, chunk by chunk. */
export interface CollectCommand {
  readonly kind: 'collect';
  readonly call: number;
  readonly part: BlobPart;
  /** Bytes of the blob. */
  readonly size: number;
  /** The place that holds the chunk of the first wanted byte, up to that byte. */
  readonly place: number | undefined;
}

/** A body is handed to a blob that passes through. */
export interface PassCommand {
  readonly kind: 'pass';
  readonly call: number;
  readonly part: BlobPart;
  readonly pass: number;
}

export type ReadCommand = PourCommand | CollectCommand | PassCommand;

/** To a body that is being read. */
export type BodyCommand =
  /** It may write up to here. */
  | { readonly kind: 'credit'; readonly call: number; readonly to: number }
  /** There is no more credit: it ends where its credit ends. */
  | { readonly kind: 'refuse'; readonly call: number }
  /** It may begin one more chunk. */
  | { readonly kind: 'begin'; readonly call: number };

/** To a blob that passes through this worker. `pass` names it. */
export type OnPass =
  | { readonly kind: 'openPass'; readonly pass: number; readonly options: PassOptions }
  /** Its client wants no byte before `to`. */
  | { readonly kind: 'skip'; readonly pass: number; readonly to: number }
  /** All of it has come. Its Progress then tells whether its digest is right. */
  | { readonly kind: 'finish'; readonly pass: number }
  | { readonly kind: 'closePass'; readonly pass: number };

export type UpstreamCommand =
  /** The first of all; again for a later generation. `connections` is this worker's share. */
  | {
      readonly kind: 'configure';
      readonly settings: BlobSettings;
      /** Of bytes per second, for all workers together (util/token-bucket.ts). */
      readonly limit: SharedArrayBuffer;
    }
  | {
      readonly kind: 'send';
      readonly call: number;
      readonly request: Omit<OutgoingRequest, 'signal' | 'limit'>;
    }
  | { readonly kind: 'discard'; readonly call: number }
  /** Ends a call. A body that is being read is answered with `ended`, any other one with nothing. */
  | { readonly kind: 'abort'; readonly call: number; readonly error: WireError }
  | ReadCommand
  | BodyCommand
  | OnPass
  /** Ends all connections at once. */
  | { readonly kind: 'close' };

/** A whole chunk in a place. */
export interface CollectedChunk {
  readonly index: number;
  readonly place: number;
  readonly length: number;
  /** sha256. */
  readonly hash: Uint8Array;
}

/** A chunk that came only in part. */
export interface LeftChunk extends Omit<CollectedChunk, 'hash'> {
  readonly filled: number;
}

/** A chunk that is whole in the file. */
export interface PouredChunk {
  readonly index: number;
  /** sha256. */
  readonly hash: Uint8Array;
}

/** `position`: bytes of the blob before it are where they should be. */
export type UpstreamEvent =
  | {
      readonly kind: 'head';
      readonly call: number;
      readonly status: number;
      readonly headers: Headers;
    }
  /** The request failed before its head. */
  | { readonly kind: 'failed'; readonly call: number; readonly error: WireError }
  /** At most every 20 ms, and for each whole chunk of a file. */
  | {
      readonly kind: 'progress';
      readonly call: number;
      readonly position: number;
      readonly chunks: readonly PouredChunk[];
    }
  /** Wants credit for further bytes of a file, or room for this chunk. */
  | { readonly kind: 'want'; readonly call: number; readonly index: number }
  | {
      readonly kind: 'chunk';
      readonly call: number;
      readonly position: number;
      readonly chunk: CollectedChunk;
    }
  | {
      readonly kind: 'ended';
      readonly call: number;
      /** No byte behind it was written. */
      readonly position: number;
      readonly chunks: readonly PouredChunk[];
      readonly left: LeftChunk | undefined;
      readonly error: WireError | undefined;
    };
