/** The part of a byte worker that works on files: what it is told, and what it answers. */
import type { DigestAlgorithm } from '../oci/digest.ts';
import type { WireError } from './wire-error.ts';

export type FilesCommand =
  /** Writes the chunk at a place into a file, and gives the place back. Answered without a value. */
  | {
      readonly kind: 'write';
      readonly call: number;
      readonly place: number;
      readonly fd: number;
      readonly position: number;
      /** The follower of this file, if it is in the same worker: it takes the bytes from memory if it is their turn. */
      readonly follower: number | undefined;
    }
  /** Gives a place back: the chunk is not wanted. */
  | { readonly kind: 'give'; readonly place: number }
  /** Takes the bytes at a place out of the worker, for tests. Answered with a Uint8Array. */
  | { readonly kind: 'take'; readonly call: number; readonly place: number }
  /** Puts bytes into a place, for tests. Answered with a {@link Held}. */
  | { readonly kind: 'hold'; readonly call: number; readonly bytes: Uint8Array }
  /**
   * Hashes a file from its start to its end, as far as its prefix grows. Answered with the hexadecimal hash. `call`
   * names the follower.
   */
  | {
      readonly kind: 'follow';
      readonly call: number;
      readonly fd: number;
      readonly size: number;
      readonly algorithm: DigestAlgorithm;
      readonly progress: SharedArrayBuffer;
    }
  /** Ends a follower, which is answered with `aborted`. */
  | { readonly kind: 'unfollow'; readonly call: number }
  /** Compares the chunks in a list with their hashes. Answered with the chunks that have them: number[]. */
  | {
      readonly kind: 'check';
      readonly call: number;
      readonly fd: number;
      readonly size: number;
      readonly hashes: Uint8Array;
      readonly chunks: readonly number[];
    }
  /** Hashes a part of a file. Answered with its sha256: Uint8Array. */
  | {
      readonly kind: 'hash';
      readonly call: number;
      readonly fd: number;
      readonly start: number;
      readonly end: number;
    }
  /** Hashes a whole file, and each of its chunks. Answered with a {@link Survey}. */
  | {
      readonly kind: 'survey';
      readonly call: number;
      readonly fd: number;
      readonly size: number;
      readonly algorithm: DigestAlgorithm;
    };

export interface Survey {
  /** The hash of the whole file, hexadecimal. */
  readonly whole: string;
  /** sha256 of all chunks, one after the other. */
  readonly chunks: Uint8Array<ArrayBuffer>;
}

export interface Held {
  readonly place: number;
  readonly hash: Uint8Array;
}

export type FilesEvent =
  | { readonly kind: 'done'; readonly call: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly call: number; readonly error: WireError };
