/**
 * The first chunks that have not entered the cluster and concern this node: those of which it is an owner or a backup
 * owner, and those that are new in the window. Each pump looks at them, and they change rarely, so they are kept.
 */
import type { SwarmState } from './swarm-state.ts';

export class ClaimWindow {
  readonly #state: SwarmState;
  /** When each chunk came into the window, for the delay of backup owners. */
  readonly #waitingSince: Map<number, number> = new Map();
  #open: readonly number[] = [];
  /** The state for which {@link #open} was computed. */
  #size = -1;
  #attestedChanges = -1;
  #version = -1;
  #fetchGroup = -1;

  constructor(state: SwarmState) {
    this.#state = state;
  }

  /** @param size chunks in the window */
  open(size: number): readonly number[] {
    const { attested, owners, environment } = this.#state;
    const { version } = environment.membership;
    const isCurrent =
      this.#size === size &&
      this.#attestedChanges === attested.changes &&
      this.#version === version &&
      this.#fetchGroup === owners.fetchGroup;
    if (isCurrent) return this.#open;
    this.#size = size;
    this.#attestedChanges = attested.changes;
    this.#version = version;
    this.#fetchGroup = owners.fetchGroup;
    this.#open = this.#state
      .unattested(size)
      .filter((index) => this.#rankOf(index) >= 0 || !this.#waitingSince.has(index));
    return this.#open;
  }

  /**
   * This node's rank among the owners of an open chunk, once the delay of that rank has passed. It counts from the
   * first call for the chunk.
   */
  rankDue(index: number): number | undefined {
    const { now, environment } = this.#state;
    const rank = this.#rankOf(index);
    let since = this.#waitingSince.get(index);
    if (since === undefined) {
      since = now;
      this.#waitingSince.set(index, since);
      if (rank < 0) this.#size = -1; // it need not be looked at again
    }
    return rank < 0 || now - since < rank * environment.parameters.backupDelay ? undefined : rank;
  }

  /** The chunk has entered the cluster. */
  entered(index: number): void {
    this.#waitingSince.delete(index);
  }

  #rankOf(index: number): number {
    return this.#state.owners.rankOf(index, this.#state.self);
  }
}
