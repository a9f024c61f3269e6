/** What came from peers and from the registry: checked against its hash, and written, before it counts. */
import type { WeirError } from '../util/errors.ts';
import type { PeerName } from '../protocol/peer-id.ts';
import { isSameHash, isSameStatement, type Statement } from '../protocol/attestation.ts';
import type { SwarmState } from './swarm-state.ts';

export interface ArrivedPiece {
  readonly bytes: Uint8Array;
  readonly statement: Statement;
  /** The bytes are not needed any more. */
  readonly release: () => void;
}

export interface ArrivalEvents {
  /** The chunk is written, and right. `from`: undefined where the registry gave it. */
  right(index: number, from: PeerName | undefined): void;
  /** This node vouches for a chunk from the registry. */
  stated(statement: Statement): void;
  /** Two members contradict each other about the chunk, or nobody who is believed vouches for it: the registry is asked. */
  disputed(index: number): void;
  /** The peer has sent wrong bytes. */
  wrong(from: PeerName): void;
  /** Nothing can be written. */
  failed(error: WeirError): void;
  changed(): void;
}

export class Arrivals {
  readonly #state: SwarmState;
  readonly #events: ArrivalEvents;

  constructor(state: SwarmState, events: ArrivalEvents) {
    this.#state = state;
    this.#events = events;
  }

  fromPeer(index: number, { bytes, statement, release }: ArrivedPiece, from: PeerName): void {
    const { here, options, environment, swarm } = this.#state;
    if (here.has(index) || !this.#isTrusted(index, statement, from)) {
      release();
      return;
    }
    this.#state.began(index);
    options.sink.write(index, bytes, statement.hash, (result) => {
      release();
      this.#state.ended(index);
      if (result.kind === 'mismatch') {
        this.#state.blame(from, 'wrong-bytes');
        this.#events.wrong(from);
      } else if (result.kind === 'failed') this.#events.failed(result.error);
      else {
        environment.observer.received(swarm, from, bytes.length);
        environment.membership.absolve(from); // not before: a wrong chunk must not clear who sent one before
        this.#vouched(index, statement);
        this.#events.right(index, from);
      }
      this.#events.changed();
    });
  }

  fromOrigin(index: number, bytes: Uint8Array, release: () => void): void {
    const { here, options, environment, swarm, statements, layout } = this.#state;
    environment.observer.fetched(swarm, bytes.length);
    if (here.has(index)) {
      release();
      return;
    }
    this.#state.began(index);
    options.sink.write(index, bytes, undefined, (result) => {
      release();
      this.#state.ended(index);
      if (result.kind === 'failed') this.#events.failed(result.error);
      if (result.kind !== 'written') return;
      const statement = environment.state(swarm, layout.size, index, result.hash);
      this.#vouched(index, statement);
      statements[index] = statement;
      this.#events.stated(statement);
      this.#events.right(index, undefined);
      this.#events.changed();
    });
  }

  /**
   * What is written has the hash that this one states, and goes out with it. What was stated before may have come from
   * who was given other bytes by the registry, or from a liar: the whole blob will tell.
   */
  #vouched(index: number, statement: Statement): void {
    const { statements } = this.#state;
    const before = statements[index];
    if (before !== undefined && isSameHash(before.hash, statement.hash)) return;
    if (before !== undefined) this.#state.verdicts.contest(before);
    statements[index] = statement;
  }

  /** Whether the one who is said to state the hash does and is believed, and nobody states another one. */
  #isTrusted(index: number, statement: Statement, from: PeerName): boolean {
    const { environment, swarm, statements, layout } = this.#state;
    const known = statements[index];
    if (known !== undefined && isSameStatement(known, statement)) return true;
    const isVouchedFor = known !== undefined && isSameHash(known.hash, statement.hash);
    if (!this.#state.isBelieved(statement.by)) return isVouchedFor || this.#disputed(index);
    if (!environment.isGenuine(statement, swarm, layout.size)) {
      this.#state.blame(from, 'protocol', { detail: 'a piece with a forged statement' });
      return false;
    }
    if (known === undefined || isVouchedFor) return true;
    this.#state.verdicts.contest(statement);
    return this.#disputed(index);
  }

  /** Nobody's word is taken for the chunk: the registry is asked. */
  #disputed(index: number): false {
    this.#events.disputed(index);
    this.#state.seen.clear(index);
    return false;
  }
}
