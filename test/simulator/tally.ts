/** Counts of what happened in a cluster. */
import type { Digest } from '../../src/oci/digest.ts';
import type { SwarmKey } from '../../src/protocol/messages.ts';
import type { UploadDecision } from '../../src/swarm/uploader.ts';
import type { FetchReason } from '../../src/swarm/environment.ts';

export class Tally {
  messages = 0;
  /** How often the registry was asked for each reason. */
  readonly reasons: Map<FetchReason, number> = new Map();
  /** For each reason, how many chunks the registry was asked for again. */
  readonly again: Map<FetchReason, number> = new Map();
  /** How requests at peers ended. */
  readonly outcomes: Map<UploadDecision['kind'], number> = new Map();
  /** Chunks of each blob that the registry was asked for. */
  readonly #askedFor: Map<Digest, Set<number>> = new Map();

  ruled(outcome: UploadDecision['kind']): void {
    countIn(this.outcomes, outcome);
  }

  /** The registry is asked for these chunks. */
  fetching({ digest }: SwarmKey, first: number, count: number, reason: FetchReason): void {
    countIn(this.reasons, reason);
    const asked = this.#askedFor.get(digest) ?? new Set();
    this.#askedFor.set(digest, asked);
    for (let index = first; index < first + count; index++) {
      if (asked.has(index)) countIn(this.again, reason);
      asked.add(index);
    }
  }
}

function countIn<T>(counts: Map<T, number>, key: T): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
