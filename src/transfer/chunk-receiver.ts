/**
 * Receives the answer to one request, from its first byte to its last, in a byte worker. It knows no socket. A chunk is
 * received into a place of the worker's memory, and hashed there once it is whole.
 */
import { hash } from 'node:crypto';
import { WeirError } from '../util/errors.ts';
import { HeadReader } from './answer-head.ts';
import { interpret } from './answer-parser.ts';
import type { ChunkAnswer, ChunkFetchEvents, ChunkFetch } from './chunk-exchange.ts';
import type { Attestation } from '../protocol/attestation.ts';

/** Interim answers to one request; the data port sends one. */
const MAX_INTERIM = 4;

/** The memory that chunks are received into. */
export interface ChunkMemory {
  /** @param length bytes */
  take(length: number): { readonly place: number; readonly bytes: Uint8Array<ArrayBuffer> };
  give(place: number): void;
}

/** A whole chunk in a {@link ChunkMemory}. */
export interface PlacedChunk {
  readonly place: number;
  /** Bytes. */
  readonly length: number;
  /** sha256. */
  readonly hash: Uint8Array;
}

export type ReceivedAnswer =
  | {
      readonly kind: 'chunk';
      /** The receiver of the event gives the place of a chunk back. */
      readonly bytes: PlacedChunk | Uint8Array<ArrayBuffer>;
      /** Bytes of the whole blob. */
      readonly size: number;
      readonly attestation: Attestation | undefined;
    }
  | Exclude<ChunkAnswer, { readonly kind: 'chunk' }>;

/** As {@link ChunkFetchEvents}, within the worker. */
export interface ReceiverEvents extends Omit<ChunkFetchEvents, 'answered'> {
  answered(answer: ReceivedAnswer): void;
}

interface Incoming {
  /** Undefined for a whole blob, which leaves this thread. */
  readonly place: number | undefined;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly size: number;
  readonly attestation: Attestation | undefined;
  received: number;
}

export class ChunkReceiver {
  readonly request: ChunkFetch;
  readonly #events: ReceiverEvents;
  readonly #memory: ChunkMemory;
  #head = new HeadReader();
  #interim = 0;
  #acknowledged = false;
  #begun = false;
  #lasts = true;
  #incoming: Incoming | undefined;
  #answer: Exclude<ChunkAnswer, { readonly kind: 'chunk' }> | undefined;
  #over = false;

  constructor(request: ChunkFetch, events: ReceiverEvents, memory: ChunkMemory) {
    this.request = request;
    this.#events = events;
    this.#memory = memory;
  }

  /** Whether a byte of an answer has come. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Whether the request has ended, or was cancelled. */
  get over(): boolean {
    return this.#over;
  }

  /** Whether the connection can be used again after this answer. */
  get lasts(): boolean {
    return this.#lasts;
  }

  /** A connection is being made. */
  connecting(): void {
    if (!this.#over) this.#events.connecting();
  }

  /** The request is being sent. */
  sent(): void {
    if (!this.#over) this.#events.sent();
  }

  /**
   * Takes bytes that have come, and keeps no reference to them.
   * @returns whether the answer is whole and must be given to {@link deliver}
   * @throws WeirError `peer_protocol`, `peer_cut`
   */
  receive(bytes: Buffer): boolean {
    this.#begun = true;
    let rest: Buffer | undefined = bytes;
    while (this.#incoming === undefined && this.#answer === undefined) {
      rest = this.#readHead(rest);
      if (rest === undefined || this.#over) return false; // the listener of `acknowledged` has cancelled it
    }
    return this.#readBody(rest);
  }

  /** @returns the bytes after the head; undefined if the head is not whole yet */
  #readHead(bytes: Buffer): Buffer | undefined {
    const read = this.#head.read(bytes);
    if (read === undefined) return undefined;
    const meaning = interpret(read.head, this.request);
    if (meaning.kind === 'interim' && ++this.#interim > MAX_INTERIM)
      throw protocolError('too many interim answers');
    this.#acknowledge();
    if (this.#over) return undefined;
    if (read.head.headers.get('connection')?.toLowerCase() === 'close') this.#lasts = false;
    if (meaning.kind === 'answer') this.#answer = meaning.answer;
    if (meaning.kind === 'chunk') {
      const { length, size, attestation } = meaning;
      const isDocument = this.request.range === undefined;
      const { place, bytes: memory } = isDocument ? document(length) : this.#memory.take(length);
      this.#incoming = { place, bytes: memory, size, attestation, received: 0 };
    }
    return read.rest;
  }

  #readBody(bytes: Buffer): boolean {
    const chunk = this.#incoming;
    const missing = chunk === undefined ? 0 : chunk.bytes.length - chunk.received;
    if (bytes.length > missing) throw protocolError('more bytes than announced');
    if (chunk === undefined) return true;
    chunk.bytes.set(bytes, chunk.received);
    chunk.received += bytes.length;
    if (bytes.length > 0) this.#events.progressed(bytes.length);
    return bytes.length === missing;
  }

  #acknowledge(): void {
    if (this.#acknowledged) return;
    this.#acknowledged = true;
    this.#events.acknowledged();
  }

  /** Hands the answer over. */
  deliver(): void {
    if (this.#over) return;
    this.#over = true;
    const chunk = this.#incoming;
    if (chunk === undefined) {
      if (this.#answer !== undefined) this.#events.answered(this.#answer);
      return;
    }
    const { place, bytes: memory, size, attestation } = chunk;
    this.#incoming = undefined;
    const bytes = place === undefined ? memory : { place, length: memory.length, hash: sha256(memory) };
    this.#events.answered({ kind: 'chunk', bytes, size, attestation });
  }

  fail(error: WeirError): void {
    if (this.#over) return;
    this.cancel();
    this.#events.failed(error);
  }

  /** No event comes any more. */
  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#incoming?.place !== undefined) this.#memory.give(this.#incoming.place);
    this.#incoming = undefined;
  }
}

function document(length: number): { readonly place: undefined; readonly bytes: Uint8Array<ArrayBuffer> } {
  return { place: undefined, bytes: new Uint8Array(length) };
}

/** A copy of its own: Buffers share memory, and all of that would be cloned into another thread. */
function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(hash('sha256', bytes, 'buffer'));
}

function protocolError(message: string): WeirError {
  return new WeirError('peer_protocol', message);
}
