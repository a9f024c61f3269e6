/**
 * Finds the makers of wrong attestations. If two attestations differ, only the whole blob tells which one is wrong.
 * Until it has its digest, both are kept and nobody is blamed: the registry may have given each member other bytes.
 */
import { MAX_CONTESTED_ATTESTATIONS } from './parameters.ts';
import { isSameHash, isSameAttestation, type Attestation } from '../protocol/attestation.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { SwarmState } from './swarm-state.ts';

export class Verdicts {
  readonly #state: SwarmState;
  readonly #contested: Attestation[] = [];

  constructor(state: SwarmState) {
    this.#state = state;
  }

  /** A genuine attestation differs from another one, or from the registry's bytes. */
  contest(attestation: Attestation): void {
    if (this.#contested.length >= MAX_CONTESTED_ATTESTATIONS) return;
    const isKnown = this.#contested.some(
      (other) => other.index === attestation.index && isSameAttestation(other, attestation),
    );
    if (!isKnown) this.#contested.push(attestation);
  }

  /**
   * The whole blob is right, and so are these hashes. A member that attested another one as verified lies, and is
   * banned. A member that had it from the registry may have been deceived: it is not believed about this registry any
   * more, and nothing else is held against it.
   */
  judge(hashOf: (index: number) => Uint8Array | undefined): void {
    const { attestations, self } = this.#state;
    for (const attestation of [...attestations, ...this.#contested]) {
      if (attestation === undefined || attestation.by === self) continue;
      const truth = hashOf(attestation.index);
      if (truth === undefined || isSameHash(attestation.hash, truth)) continue;
      if (attestation.verified) this.#state.blame(attestation.by, 'wrong-hash');
      else this.#misled(attestation.by);
    }
  }

  #misled(peer: PeerId): void {
    const { environment, swarm } = this.#state;
    if (!this.#state.isBelieved(peer)) return;
    environment.observer.misled(swarm, peer);
    environment.distrust.add(swarm.registry, peer);
    this.#state.forget(peer);
  }
}
