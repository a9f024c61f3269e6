/** What {@link Blobs} are made from, what is asked of them, and what they report. */
import type { Clock } from '../util/clock.ts';
import type { WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Waits } from '../util/waits.ts';
import type { BlobProvider, Store } from '../store/store.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { Access, PullRequest } from './access.ts';
import type { ByteSource } from './blob-reader.ts';
import type { DownloadOptions } from './download-options.ts';
import type { PassThroughRequest } from './pass-through.ts';

export interface BlobRequest extends PassThroughRequest {
  /** The runtime goes on with a response that was cut (a Range that does not start at 0). */
  readonly resuming: boolean;
  /** Counts the time for which it waits. */
  readonly waits?: Waits | undefined;
}

export interface PrefetchRequest extends PullRequest {
  readonly digest: Digest;
  /** Whether a copy that this registry has not delivered yet is too little: a caller of its own would not get that one. */
  readonly proven?: boolean;
}

/** `later`: it is arriving already, or too many others are. */
export type Prefetched = 'fetched' | 'here' | 'later';

export interface BlobsObserver {
  cacheHit(source: ByteSource): void;
  cacheMiss(): void;
  problem(message: string, error: unknown): void;
  pulled(digest: Digest, failure: WeirError | undefined): void;
}

export interface BlobsOptions {
  /** Asked in this order. */
  readonly providers: readonly BlobProvider[];
  readonly store: Store;
  readonly upstream: Pick<Upstream, 'openBlob' | 'headBlob' | 'pass'>;
  readonly access: Access;
  readonly clock: Clock;
  readonly observer: BlobsObserver;
  /** Milliseconds. */
  readonly linger: number;
  readonly stallTimeout: number;
  /** How many blobs may arrive at once. */
  readonly maxConcurrent: number;
  /** Finds peers for a pull; undefined if there are no peers at all. */
  readonly share?: DownloadOptions['share'];
}
