/** A pull in company, as a flight sees it: it lends its ingest, and is told how that goes. */
import type { WeirError } from '../util/errors.ts';
import type { Ingest } from '../store/store.ts';
import type { Caller } from '../upstream/caller.ts';

/** What a flight lends to those it is filled by. */
export interface DownloadTarget {
  readonly ingest: Ingest;
  readonly signal: AbortSignal;
  /** All who wait for the blob now. */
  readonly callers: () => readonly Caller[];
  readonly progressed: () => void;
  /** Chunks have come. */
  readonly changed: () => void;
}

/** A pull in company. */
export interface PeerSource {
  /** Bytes of the blob. */
  readonly size: number;
  /** Whether others pull the blob too, or have it, as far as is known: false before it is fetched. */
  readonly hasPeers: boolean;
  /** Resolves when all chunks are there. @throws WeirError where neither peers nor upstream can bring them */
  fetchInto(target: DownloadTarget): Promise<void>;
  /** The whole digest is wrong: nothing of it goes out any more, and the others are told. */
  abandon(): void;
  /** The whole digest is right, and this is the truth: it tells who stated something else. */
  judge(truth: Ingest): void;
  /** The blob was stored, or given up. */
  settle(kept: boolean, failure: WeirError | undefined): void;
}
