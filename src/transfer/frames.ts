/**
 * Frames of the peer wire (docs/protocol.md): a byte with the kind, three with the length, then so many bytes. The reader
 * hands on the bytes of chunks as they come, without a copy, and collects all other frames.
 */
import { KIB } from '../util/clock.ts';
import { MAX_MESSAGE_BYTES } from '../protocol/codec.ts';
import { protocolError } from '../protocol/fields.ts';

export const KIND = {
  hello: 0,
  /** A message of a swarm (protocol/codec.ts). */
  message: 1,
  request: 2,
  cancel: 3,
  acknowledged: 4,
  answer: 5,
  /** The number of a request (u32, big-endian), and bytes of the chunk that answers it. */
  data: 6,
  ping: 7,
  pong: 8,
  question: 9,
  reply: 10,
  /** Asks for the same body back, to see how long that takes: 4 bytes. */
  mark: 11,
  returned: 12,
  /** Asks for images to be preheated, and for the progress of that (protocol/preheat-messages.ts). */
  order: 13,
  progress: 14,
} as const;

export type FrameKind = (typeof KIND)[keyof typeof KIND];

export const HEAD_BYTES = 4;
const ID_BYTES = 4;
const MARK_BYTES = 4;
/** Bytes of a chunk in one data frame: small enough that other frames need not wait long for their turn. */
export const MAX_DATA_BYTES: number = 256 * KIB;
/** A kind that is not known here is passed over. */
const MAX_UNKNOWN_BYTES: number = 64 * KIB;

/** Bytes after the head. */
const MAX_BYTES: Readonly<Record<number, number>> = {
  [KIND.hello]: 256,
  [KIND.message]: MAX_MESSAGE_BYTES,
  /** A Bearer token of 16 KiB is the longest that the mirror takes. */
  [KIND.request]: 20 * KIB,
  [KIND.cancel]: 16,
  [KIND.acknowledged]: 16,
  [KIND.answer]: 512,
  [KIND.data]: ID_BYTES + MAX_DATA_BYTES,
  [KIND.ping]: 0,
  [KIND.pong]: 0,
  /** With a token of 16 KiB and an Accept header of 4 KiB. */
  [KIND.question]: 24 * KIB,
  [KIND.reply]: 2 * KIB,
  [KIND.mark]: 4,
  [KIND.returned]: 4,
  /** With the names of images, 32 KiB together. */
  [KIND.order]: 40 * KIB,
  /** With 64 images, each with a reason of 200 characters. */
  [KIND.progress]: 24 * KIB,
};

export function encodeFrame(kind: FrameKind, body: Uint8Array = new Uint8Array()): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(HEAD_BYTES + body.length);
  writeHead(frame, kind, body.length);
  frame.set(body, HEAD_BYTES);
  return frame;
}

/** The head of a data frame, with the number of its request. @param length bytes of the chunk that follow */
export function dataHead(request: number, length: number): Buffer {
  const head = Buffer.allocUnsafe(HEAD_BYTES + ID_BYTES);
  writeHead(head, KIND.data, ID_BYTES + length);
  head.writeUInt32BE(request, HEAD_BYTES);
  return head;
}

function writeHead(frame: Uint8Array, kind: FrameKind, length: number): void {
  frame[0] = kind;
  frame[1] = (length >> 16) & 0xff;
  frame[2] = (length >> 8) & 0xff;
  frame[3] = length & 0xff;
}

export interface FrameEvents {
  /** A whole frame of another kind than data. `body` is valid until this returns. */
  frame(kind: number, body: Buffer): void;
  /** Bytes of a data frame, which are valid until this returns. */
  data(request: number, bytes: Buffer): void;
}

/** Cuts what comes over a connection into frames. It keeps at most one, and none of data. */
export class FrameReader {
  readonly #events: FrameEvents;
  /** The head of the frame that is being read, and of data also the number of its request. */
  readonly #head = Buffer.alloc(HEAD_BYTES + ID_BYTES);
  #headBytes = 0;
  #headLength = HEAD_BYTES;
  /** Bytes of the frame that are still to come, once its head is whole. */
  #left = 0;
  /** A frame of which only a part has come. */
  #frame: Buffer | undefined;
  #isStopped = false;

  constructor(events: FrameEvents) {
    this.#events = events;
  }

  /** Nothing more is read: not even what came together with the last frame. */
  stop(): void {
    this.#isStopped = true;
    this.#frame = undefined;
  }

  /** @throws WeirError `peer_protocol`; what a listener throws */
  push(bytes: Buffer): void {
    let at = 0;
    // Nearly all reads are within a data frame: 64 Ki of them for a GiB.
    const isInData = this.#head[0] === KIND.data && this.#headBytes === HEAD_BYTES + ID_BYTES;
    if (isInData && this.#left > bytes.length && !this.#isStopped) {
      this.#left -= bytes.length;
      return this.#events.data(this.#head.readUInt32BE(HEAD_BYTES), bytes);
    }
    while (at < bytes.length && !this.#isStopped) {
      if (this.#headBytes < this.#headLength) {
        this.#readHead(bytes[at] ?? 0);
        at += 1;
      } else {
        const part = bytes.subarray(at, at + this.#left);
        at += part.length;
        this.#left -= part.length;
        this.#take(part);
      }
    }
  }

  /** @throws WeirError `peer_protocol`, before any memory is allocated for the frame */
  #readHead(byte: number): void {
    this.#head[this.#headBytes++] = byte;
    const isData = this.#head[0] === KIND.data;
    if (this.#headBytes === HEAD_BYTES) {
      const length = this.#head.readUIntBE(1, 3);
      const most = MAX_BYTES[this.#kind] ?? MAX_UNKNOWN_BYTES;
      if (length > most) throw protocolError(`a frame of ${length} bytes, at most ${most} are allowed`);
      if (isData && length <= ID_BYTES) throw protocolError('a data frame without data');
      const isMark = this.#kind === KIND.mark || this.#kind === KIND.returned;
      if (isMark && length !== MARK_BYTES) throw protocolError('a mark of another length');
      this.#headLength = HEAD_BYTES + (isData ? ID_BYTES : 0);
      this.#left = length - (isData ? ID_BYTES : 0);
    }
    if (this.#headBytes === this.#headLength && this.#left === 0) this.#take(Buffer.alloc(0));
  }

  get #kind(): number {
    return this.#head[0] ?? 0;
  }

  #take(part: Buffer): void {
    const kind = this.#kind;
    const isWhole = this.#left === 0;
    if (isWhole) {
      this.#headBytes = 0;
      this.#headLength = HEAD_BYTES;
    }
    if (kind === KIND.data) return this.#events.data(this.#head.readUInt32BE(HEAD_BYTES), part);
    if (isWhole && this.#frame === undefined) return this.#events.frame(kind, part);
    const frame = (this.#frame ??= Buffer.allocUnsafeSlow(part.length + this.#left));
    frame.set(part, frame.length - this.#left - part.length);
    if (!isWhole) return;
    this.#frame = undefined;
    this.#events.frame(kind, frame);
  }
}
