/**
 * Who stated a wrong hash. Which of two that contradict each other is wrong, only the whole blob tells: until it is
 * right, what is contradicted is kept and nobody is blamed, since the registry may have given each member other bytes.
 */
import { isSameHash, isSameStatement, type Statement } from '../protocol/attestation.ts';
import type { PeerName } from '../protocol/peer-id.ts';
import type { SwarmState } from './swarm-state.ts';

/** Statements of one blob that are kept; some 250 bytes each. */
const MAX_CONTESTED = 512;

export class Verdicts {
  readonly #state: SwarmState;
  readonly #contested: Statement[] = [];

  constructor(state: SwarmState) {
    this.#state = state;
  }

  /** A genuine statement contradicts another one, or what the registry gave. */
  contest(statement: Statement): void {
    if (this.#contested.length >= MAX_CONTESTED) return;
    const isKnown = this.#contested.some(
      (other) => other.index === statement.index && isSameStatement(other, statement),
    );
    if (!isKnown) this.#contested.push(statement);
  }

  /**
   * The whole blob is right, and so these hashes are. Whoever stated another one as verified lies, and is banned.
   * Whoever had it from the registry may have been deceived by that: it is not believed any more in the name of this
   * registry, and nothing else is held against it.
   */
  judge(hashOf: (index: number) => Uint8Array | undefined): void {
    const { statements, self } = this.#state;
    for (const statement of [...statements, ...this.#contested]) {
      if (statement === undefined || statement.by === self) continue;
      const truth = hashOf(statement.index);
      if (truth === undefined || isSameHash(statement.hash, truth)) continue;
      if (statement.verified) this.#state.blame(statement.by, 'wrong-hash');
      else this.#misled(statement.by);
    }
  }

  #misled(peer: PeerName): void {
    const { environment, swarm } = this.#state;
    if (!this.#state.isBelieved(peer)) return;
    environment.observer.misled(swarm, peer);
    environment.distrust.add(swarm.registry, peer);
    this.#state.forget(peer);
  }
}
