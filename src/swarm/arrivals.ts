/** What came from peers and from the registry: checked against its hash, and written, before it counts. */
import type { WeirError } from '../errors.ts';
import type { PeerName } from '../peer/peer-name.ts';
import { isSameHash, isSameStatement, type Statement } from '../protocol/statement.ts';
import type { ArrivedPiece } from './fetching.ts';
import type { SwarmState } from './state.ts';

export interface ArrivalEvents {
  /** The chunk is written, and right. `from`: undefined where the registry gave it. */
  right(index: number, from: PeerName | undefined): void;
  /** This node vouches for a chunk from the registry. */
  stated(statement: Statement): void;
  /** Two members contradict each other about the chunk: the registry knows. */
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
  /** Statements that contradict the one that was known before: one of the two is a lie. */
  readonly #disputed: Map<number, Statement> = new Map();

  constructor(state: SwarmState, events: ArrivalEvents) {
    this.#state = state;
    this.#events = events;
  }

  fromPeer(index: number, { bytes, statement, release }: ArrivedPiece, from: PeerName): void {
    const { here, options, environment, swarm, statements } = this.#state;
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
        statements[index] ??= statement;
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
      for (const stated of [statements[index], this.#disputed.get(index)]) {
        if (stated !== undefined && !isSameHash(stated.hash, result.hash))
          this.#state.blame(stated.by, 'wrong-hash');
      }
      const statement = environment.state(swarm, layout.size, index, result.hash);
      statements[index] = statement;
      this.#events.stated(statement);
      this.#events.right(index, undefined);
      this.#events.changed();
    });
  }

  /** Whether the one who is said to state the hash does, and nobody states another one. */
  #isTrusted(index: number, statement: Statement, from: PeerName): boolean {
    const { environment, swarm, statements, layout } = this.#state;
    const known = statements[index];
    if (known !== undefined && isSameStatement(known, statement)) return true;
    if (!environment.isGenuine(statement, swarm, layout.size)) {
      this.#state.blame(from, 'protocol', { detail: 'a piece with a forged statement' });
      return false;
    }
    if (known === undefined || isSameHash(known.hash, statement.hash)) return true;
    this.#disputed.set(index, statement);
    this.#events.disputed(index);
    this.#state.seen.clear(index);
    return false;
  }
}
