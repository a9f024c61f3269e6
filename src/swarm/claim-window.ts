/**
 * The first chunks that have not entered the cluster, as far as they concern this node: those of which it is a home,
 * and those that it has not met there yet. Each pump looks at them, and they change only now and then.
 */
import type { SwarmState } from './swarm-state.ts';

export class ClaimWindow {
  readonly #state: SwarmState;
  /** When each chunk came into the window, for the stand-ins. */
  readonly #waitingSince: Map<number, number> = new Map();
  #open: readonly number[] = [];
  /** What {@link #open} was found for. */
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
   * This node's rank among the homes of an open chunk, where it is time for that rank to see to it. Milliseconds count
   * from the first time that this is asked.
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
