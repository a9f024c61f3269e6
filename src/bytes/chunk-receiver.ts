/**
 * Receives the answer to one request for a chunk. A chunk is received into a place of the worker's memory, and hashed there
 * once it is whole.
 */
import { hash } from 'node:crypto';
import { protocolError } from '../protocol/fields.ts';
import type { Attestation } from '../protocol/attestation.ts';
import type { ChunkAnswer } from '../transfer/chunk-exchange.ts';
import { LIMITS } from '../transfer/limits.ts';
import type { AnswerHead } from '../transfer/wire-codec.ts';
import type { ChunkPlaces } from './chunk-places.ts';

/** A whole chunk in the memory of a worker. */
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
  | Exclude<ChunkAnswer, { readonly kind: 'chunk' }>
  | { readonly kind: 'failed' };

export interface ReceiverEvents {
  acknowledged(): void;
  /** Bytes have come; called again only after {@link ChunkReceiver.report}. */
  progressed(): void;
  /** @param bytes that were not reported before */
  answered(answer: ReceivedAnswer, bytes: number): void;
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
  /** Undefined: a whole blob. */
  readonly #length: number | undefined;
  readonly #places: ChunkPlaces;
  readonly #events: ReceiverEvents;
  #isAcknowledged = false;
  #incoming: Incoming | undefined;
  #unreported = 0;

  constructor(length: number | undefined, places: ChunkPlaces, events: ReceiverEvents) {
    this.#length = length;
    this.#places = places;
    this.#events = events;
  }

  acknowledged(): void {
    if (this.#isAcknowledged) return;
    this.#isAcknowledged = true;
    this.#events.acknowledged();
  }

  /** @returns whether the answer is whole @throws WeirError `peer_protocol` */
  answer(head: AnswerHead): boolean {
    if (this.#incoming !== undefined && head.kind !== 'failed')
      throw protocolError('two answers to one request');
    this.acknowledged();
    if (head.kind !== 'chunk') {
      this.cancel();
      this.#events.answered(head, this.report());
      return true;
    }
    const { size, attestation } = head;
    const isDocument = this.#length === undefined;
    if (isDocument && (size > LIMITS.whole || size === 0))
      throw protocolError(`${size} bytes for a manifest`);
    const length = this.#length ?? size;
    if (length > size) throw protocolError('a chunk of a smaller blob');
    const { place, bytes } = isDocument ? document(length) : this.#places.take(length);
    this.#incoming = { place, bytes, size, attestation, received: 0 };
    return false;
  }

  /** Takes bytes that have come, and keeps no reference to them. @returns as {@link answer} @throws the same */
  data(bytes: Buffer): boolean {
    const chunk = this.#incoming;
    if (chunk === undefined) throw protocolError('data before their answer');
    if (bytes.length > chunk.bytes.length - chunk.received) throw protocolError('more bytes than requested');
    chunk.bytes.set(bytes, chunk.received);
    chunk.received += bytes.length;
    if (this.#unreported === 0) this.#events.progressed();
    this.#unreported += bytes.length;
    if (chunk.received < chunk.bytes.length) return false;
    this.#incoming = undefined;
    const { place, bytes: memory, size, attestation } = chunk;
    const content = place === undefined ? memory : { place, length: memory.length, hash: sha256(memory) };
    this.#events.answered({ kind: 'chunk', bytes: content, size, attestation }, this.report());
    return true;
  }

  /** Gives the memory back. */
  cancel(): void {
    if (this.#incoming?.place !== undefined) this.#places.give(this.#incoming.place);
    this.#incoming = undefined;
  }

  /** @returns the bytes that have come since the last time */
  report(): number {
    const bytes = this.#unreported;
    this.#unreported = 0;
    return bytes;
  }
}

function document(length: number): { readonly place: undefined; readonly bytes: Uint8Array<ArrayBuffer> } {
  return { place: undefined, bytes: new Uint8Array(length) };
}

/** A copy of its own: Buffers share memory, and all of that would be cloned into another thread. */
function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(hash('sha256', bytes, 'buffer'));
}
