/**
 * Counts the blobs that could not be stored, by cause. They pass through and their pulls succeed, so nobody would notice that
 * every node fetches them by itself. A warning names each cause at most once an hour.
 */
import { HOUR, type Clock } from '../util/clock.ts';
import { systemCode, type WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import { cannotKeep } from '../store/store.ts';

/**
 * `quota`: it is larger than `store.quota`, and there was no free disk for it. `disk`: the disk is full. `room`: the stored
 * blobs are in use, or its registry has not delivered anything yet. `unusable`: the data folder cannot be written.
 */
export const UNSTORED_CAUSES = ['quota', 'disk', 'room', 'unusable'] as const;
export type UnstoredCause = (typeof UNSTORED_CAUSES)[number];

const WARN_AGAIN = HOUR;
/** Characters of a failure in the report. */
const MAX_WORDS = 300;
const NO_SPACE: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT']);

export interface UnstoredBlobsOptions {
  readonly clock: Clock;
  readonly logger: { warn(detail: object, message: string): void };
  /** Is told of each. */
  readonly onUnstored?: (cause: UnstoredCause) => void;
}

export interface Unstored {
  readonly digest: Digest;
  readonly cause: UnstoredCause;
  readonly problem: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export class UnstoredBlobs {
  readonly #options: UnstoredBlobsOptions;
  /** Since the start; a blob counts with each attempt. */
  readonly counts: Record<UnstoredCause, number> = { quota: 0, disk: 0, room: 0, unusable: 0 };
  #last: Unstored | undefined;
  readonly #warnedAt: Map<UnstoredCause, number> = new Map();

  constructor(options: UnstoredBlobsOptions) {
    this.#options = options;
  }

  get last(): Unstored | undefined {
    return this.#last;
  }

  /** A pull has ended so; failures that have nothing to do with the store do not count. */
  pulled(digest: Digest, failure: WeirError | undefined): void {
    if (failure === undefined || !cannotKeep(failure)) return;
    const { clock, logger, onUnstored } = this.#options;
    const cause = causeOf(failure);
    this.counts[cause] += 1;
    this.#last = { digest, cause, problem: failure.message.slice(0, MAX_WORDS), at: clock.now() };
    onUnstored?.(cause);
    if (cause === 'unusable') return; // disk-watch.ts says it
    const now = clock.monotonic();
    if (now - (this.#warnedAt.get(cause) ?? -Infinity) < WARN_AGAIN) return;
    this.#warnedAt.set(cause, now);
    logger.warn({ digest, cause, problem: failure.message }, sentence(cause, failure));
  }
}

function causeOf({ code, detail, cause }: WeirError): UnstoredCause {
  if (code === 'store_unusable') return 'unusable';
  const named = UNSTORED_CAUSES.find((each) => each === detail['reason']);
  return named ?? (NO_SPACE.has(systemCode(cause)) ? 'disk' : 'room');
}

const PASSES = 'blobs pass through, and each node fetches them by itself';

const SENTENCES: Readonly<Record<Exclude<UnstoredCause, 'quota' | 'unusable'>, string>> = {
  disk: `the disk of the data folder is full: ${PASSES}; free it, or lower store.quota`,
  room: `the store has no room: ${PASSES}; raise store.quota if this goes on`,
};

function sentence(cause: Exclude<UnstoredCause, 'unusable'>, { detail }: WeirError): string {
  if (cause !== 'quota') return SENTENCES[cause];
  const { size = 'more', quota = 'less' } = detail;
  return (
    `a blob of ${size} bytes is larger than the quota of ${quota} bytes, and the disk has no room to share it: each node ` +
    'fetches it by itself; raise store.quota above its size, or free the disk'
  );
}
