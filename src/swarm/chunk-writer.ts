/** Verifies and writes the chunks that came from peers and upstream; a chunk counts once it is written. */
import type { ChunkBytes } from '../util/content.ts';
import type { WeirError } from '../util/errors.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { isSameHash, isSameAttestation, type Attestation } from '../protocol/attestation.ts';
import type { SwarmState } from './swarm-state.ts';

export interface ReceivedChunk {
  readonly bytes: ChunkBytes;
  readonly attestation: Attestation;
  /** The bytes are not needed any more. */
  readonly release: () => void;
}

export interface ChunkWriterEvents {
  /** The chunk is written, and right. `from`: undefined if it came from upstream. */
  written(index: number, from: PeerId | undefined): void;
  /** This node attests a chunk from upstream. */
  attested(attestation: Attestation): void;
  /** Two attestations of the chunk differ, or no believed member attests it: upstream is asked. */
  disputed(index: number): void;
  /** The peer has sent wrong bytes. */
  wrong(from: PeerId): void;
  /** Nothing can be written. */
  failed(error: WeirError): void;
  changed(): void;
}

export class ChunkWriter {
  readonly #state: SwarmState;
  readonly #events: ChunkWriterEvents;

  constructor(state: SwarmState, events: ChunkWriterEvents) {
    this.#state = state;
    this.#events = events;
  }

  fromPeer(index: number, { bytes, attestation, release }: ReceivedChunk, from: PeerId): void {
    const { chunks, options, environment, swarm } = this.#state;
    if (chunks.have.has(index) || !this.#isTrusted(index, attestation, from)) {
      release();
      return;
    }
    chunks.startWriting(index);
    options.sink.write(index, bytes, attestation.hash, (result) => {
      release();
      chunks.stopWriting(index);
      if (result.kind === 'mismatch') {
        this.#state.blame(from, 'wrong-bytes');
        this.#events.wrong(from);
      } else if (result.kind === 'failed') this.#events.failed(result.error);
      else if (result.kind === 'written') {
        environment.observer.received(swarm, from, bytes.length);
        environment.membership.clear(from); // not before: a wrong chunk must not clear the peer of an earlier one
        this.#attested(index, attestation);
        this.#events.written(index, from);
      }
      this.#events.changed();
    });
  }

  fromUpstream(index: number, bytes: ChunkBytes, release: () => void): void {
    const { chunks, options, environment, swarm, layout } = this.#state;
    environment.observer.fetched(swarm, bytes.length);
    if (chunks.have.has(index)) {
      release();
      return;
    }
    chunks.startWriting(index);
    options.sink.write(index, bytes, undefined, (result) => {
      release();
      chunks.stopWriting(index);
      if (result.kind === 'failed') this.#events.failed(result.error);
      if (result.kind === 'lost') this.#events.changed();
      if (result.kind !== 'written') return;
      const attestation = environment.attest(swarm, layout.size, index, result.hash);
      this.#attested(index, attestation);
      chunks.attest(attestation);
      this.#events.attested(attestation);
      this.#events.written(index, undefined);
      this.#events.changed();
    });
  }

  /**
   * The written chunk has this attestation's hash, and is sent with it. An earlier attestation that differs may come
   * from a member that the registry gave other bytes, or from a liar: the whole blob's digest decides.
   */
  #attested(index: number, attestation: Attestation): void {
    const { attestations } = this.#state;
    const before = attestations[index];
    if (before !== undefined && isSameHash(before.hash, attestation.hash)) return;
    if (before !== undefined) this.#state.verdicts.contest(before);
    this.#state.chunks.attest(attestation);
  }

  /** Whether the attestation is genuine, its maker is believed, and no other one differs. */
  #isTrusted(index: number, attestation: Attestation, from: PeerId): boolean {
    const { environment, swarm, attestations, layout } = this.#state;
    const known = attestations[index];
    if (known !== undefined && isSameAttestation(known, attestation)) return true;
    const isAttested = known !== undefined && isSameHash(known.hash, attestation.hash);
    if (!this.#state.isBelieved(attestation.by)) return isAttested || this.#disputed(index);
    if (!environment.isGenuine(attestation, swarm, layout.size)) {
      this.#state.blame(from, 'protocol', 'a chunk with a forged attestation');
      return false;
    }
    if (known === undefined || isAttested) return true;
    this.#state.verdicts.contest(attestation);
    return this.#disputed(index);
  }

  /** No attestation is believed: upstream is asked. */
  #disputed(index: number): false {
    this.#events.disputed(index);
    this.#state.chunks.doubt(index);
    return false;
  }
}
