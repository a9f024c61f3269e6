/**
 * The chunks of one blob as this node sees them, and the only writer of that.
 *
 *   missing ── begin ──▶ requested ── startWriting ──▶ writing ── arrive ──▶ have
 *      ▲ ◀──── end ─────────┘                             │
 *      └ ◀──── stopWriting: a wrong hash, or lost ────────┘
 *
 * A chunk may be requested of two sources at a time; it is missing again once both are over. A chunk never leaves `have`.
 * Beside that state a chunk is *attested* or not: it has entered the cluster, as far as this node knows. That may be
 * doubted again, when all known holders are gone. Who has it is kept with the peers (availability.ts), and who may fetch
 * it from upstream with its owner (claims.ts).
 */
import { Bitfield, type ReadonlyBitfield } from '../protocol/bitfield.ts';
import type { Attestation } from '../protocol/attestation.ts';

export type ChunkState = 'missing' | 'requested' | 'writing' | 'have';

export class ChunkTable {
  readonly #have: Bitfield;
  readonly #missing: Bitfield;
  readonly #attested: Bitfield;
  readonly #attestations: (Attestation | undefined)[];
  /** For each chunk, the requests for it that are under way, to peers or upstream, and being written. */
  readonly #requests: Uint8Array;
  readonly #writes: Uint8Array;

  constructor(count: number) {
    this.#have = new Bitfield(count);
    this.#missing = new Bitfield(count);
    this.#attested = new Bitfield(count);
    this.#attestations = Array.from({ length: count });
    this.#requests = new Uint8Array(count);
    this.#writes = new Uint8Array(count);
    for (let index = 0; index < count; index++) this.#missing.set(index);
  }

  /** Chunks that are here. */
  get have(): ReadonlyBitfield {
    return this.#have;
  }

  /** Chunks that are neither here nor on their way. */
  get missing(): ReadonlyBitfield {
    return this.#missing;
  }

  /** Chunks that have entered the cluster, as far as this node knows. */
  get attested(): ReadonlyBitfield {
    return this.#attested;
  }

  get attestations(): readonly (Attestation | undefined)[] {
    return this.#attestations;
  }

  stateOf(index: number): ChunkState {
    if (this.#have.has(index)) return 'have';
    if (this.isWriting(index)) return 'writing';
    return this.requests(index) > 0 ? 'requested' : 'missing';
  }

  /** Requests for the chunk that are under way. */
  requests(index: number): number {
    return this.#requests[index] ?? 0;
  }

  isWriting(index: number): boolean {
    return (this.#writes[index] ?? 0) > 0;
  }

  /** A request for the chunk begins. */
  begin(index: number): void {
    this.#requests[index] = this.requests(index) + 1;
    this.#missing.clear(index);
  }

  /** A request for the chunk is over, in whatever way. */
  end(index: number): void {
    this.#requests[index] = Math.max(0, this.requests(index) - 1);
    this.#settle(index);
  }

  /** The chunk's bytes are here, and are being checked and written. */
  startWriting(index: number): void {
    this.#writes[index] = (this.#writes[index] ?? 0) + 1;
    this.#missing.clear(index);
  }

  /** The write is over; {@link arrive} follows if it succeeded. */
  stopWriting(index: number): void {
    this.#writes[index] = Math.max(0, (this.#writes[index] ?? 0) - 1);
    this.#settle(index);
  }

  /** The chunk is here. */
  arrive(index: number): void {
    this.#have.set(index);
    this.#attested.set(index);
    this.#missing.clear(index);
  }

  /** The chunk has entered the cluster. @returns whether that is news */
  enter(index: number): boolean {
    if (this.#attested.has(index)) return false;
    this.#attested.set(index);
    return true;
  }

  /** Nobody is known who has the chunk: it may be nowhere in the cluster. */
  doubt(index: number): void {
    this.#attested.clear(index);
  }

  /** Keeps this attestation of its chunk, instead of an earlier one. */
  attest(attestation: Attestation): void {
    this.#attestations[attestation.index] = attestation;
  }

  #settle(index: number): void {
    if (this.stateOf(index) === 'missing') this.#missing.set(index);
  }
}
