/** Messages between the measuring process and the two measured ones, over the channel of `fork`. */
import type { Address } from '../../src/protocol/member.ts';

/** How chunks are carried: as Weir does it, between byte workers, or by HTTP, with a client that forgets the bytes once they are copied. */
export type Receiver = 'weir' | 'undici' | 'node:http';

/** Both sides make the same members from it; keys in PEM, bytes in base64. */
export interface Setup {
  readonly secure: boolean;
  readonly receiverKind: Receiver;
  /** Bytes of a chunk; reports have it under this name. */
  readonly piece: number;
  readonly connections: number;
  readonly sender: Party;
  readonly asker: Party;
}

export interface Party {
  readonly peer: string;
  readonly cert: string;
  readonly key: string;
  readonly fingerprint: string;
}

export type Order =
  | { readonly kind: 'listen' }
  | { readonly kind: 'fetch'; readonly from: Address; readonly chunks: number }
  | { readonly kind: 'usage' };

export type Reply =
  | { readonly kind: 'listening'; readonly address: Address }
  | { readonly kind: 'fetched'; readonly seconds: number }
  | {
      readonly kind: 'usage';
      /** CPU seconds of user and system since the start: of the process, and of its main thread. */
      readonly process: number;
      readonly main: number;
      readonly resident: number;
    };
