/**
 * Blobs that are larger than the quota. They arrive in files like all others, so that they are shared and resumed like them,
 * on disk that is free anyway (room.ts). They do not count against the quota, and go some time after their last use, or as
 * soon as the disk is wanted for others.
 */
import { MINUTE, type Clock } from '../util/clock.ts';
import { errorMessage } from '../util/errors.ts';
import type { BlobIndex } from './blob-index.ts';
import type { EvictionCandidate } from './eviction.ts';
import type { FsIngest } from './fs-ingest.ts';
import type { OversizedHoldings, Victim } from './space.ts';

/** Milliseconds after its last use for which such a blob is kept, as others still pull it. */
const KEPT = 10 * MINUTE;
/** Milliseconds between two looks at them. */
const SWEEP_INTERVAL = 1 * MINUTE;

export interface OversizedOptions {
  readonly clock: Clock;
  /** Bytes. */
  readonly quota: () => number;
  readonly blobs: BlobIndex;
  readonly partials: ReadonlyMap<
    string,
    { readonly isOversized: boolean; readonly lastUsed: number; readonly bytes: number }
  >;
  readonly ingests: ReadonlyMap<string, FsIngest>;
  /** Does the work after all other work on the store's room. */
  readonly inTurn: (work: () => Promise<void>) => Promise<void>;
  readonly evict: (victim: Victim) => Promise<void>;
  readonly onProblem: ((message: string) => void) | undefined;
}

export class Oversized implements Disposable {
  readonly #options: OversizedOptions;
  readonly #closing = new AbortController();
  #isSweeping = false;

  constructor(options: OversizedOptions) {
    this.#options = options;
  }

  is(size: number): boolean {
    return size > this.#options.quota();
  }

  get holdings(): OversizedHoldings {
    const arriving = [...this.#options.ingests.values()].filter(
      ({ committed, layout }) => !committed && this.is(layout.size),
    );
    const reserved = arriving.reduce((sum, { layout, room }) => sum + layout.size - room, 0);
    let bytes = this.#options.blobs.oversizedBytes;
    for (const partial of this.#options.partials.values()) if (partial.isOversized) bytes += partial.bytes;
    return { arriving: arriving.length, reserved, bytes, idle: this.#idle() };
  }

  /** Those that nobody reads or writes, and nobody wants to be kept. */
  #idle(): readonly EvictionCandidate<Victim>[] {
    const { blobs, partials } = this.#options;
    const idle: EvictionCandidate<Victim>[] = [];
    for (const [partial, { isOversized, lastUsed, bytes }] of partials)
      if (isOversized) idle.push({ key: { partial }, bytes, lastUsed, pinned: false });
    for (const { digest, size, lastUsed, isInUse, isPinned } of blobs.oversized())
      if (!isInUse && !isPinned) idle.push({ key: { digest }, bytes: size, lastUsed, pinned: false });
    return idle;
  }

  /** Looks at them from time to time, as long as there are any. To be called when there may be one more. */
  sweep(): void {
    if (this.#isSweeping || !this.#hasAny) return;
    this.#isSweeping = true;
    void this.#sweeping();
  }

  /** Never rejects. */
  async #sweeping(): Promise<void> {
    const { clock, inTurn, evict, onProblem } = this.#options;
    const { signal } = this.#closing;
    while (this.#hasAny && !signal.aborted) {
      try {
        await clock.sleep(SWEEP_INTERVAL, { signal });
        await inTurn(async () => {
          const before = clock.now() - KEPT;
          for (const { key, lastUsed } of this.#idle()) if (lastUsed <= before) await evict(key);
        });
      } catch (error) {
        if (!signal.aborted) onProblem?.(`cannot drop a blob beyond the quota: ${errorMessage(error)}`);
      }
    }
    this.#isSweeping = false;
  }

  get #hasAny(): boolean {
    const { blobs, partials } = this.#options;
    return blobs.oversizedBytes > 0 || [...partials.values()].some(({ isOversized }) => isOversized);
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
  }
}
