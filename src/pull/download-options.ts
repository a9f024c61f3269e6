/** What a download needs, and whom it tells. */
import type { Clock } from '../util/clock.ts';
import type { WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Store } from '../store/store.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { PullRequest } from './access.ts';
import type { PeerSource } from './download-target.ts';

export interface DownloadOptions {
  readonly upstream: Pick<Upstream, 'openBlob'>;
  readonly store: Pick<Store, 'resume' | 'ingest'>;
  readonly clock: Clock;
  /** Milliseconds that the download goes on without a reader. */
  readonly linger: number;
  /** The whole blob has arrived, and its digest is right. */
  readonly onDelivered: () => void | Promise<void>;
  /** The download will not change any more. */
  readonly onDone: (failure: WeirError | undefined) => void;
  /** The whole blob has arrived, and its digest is wrong. */
  readonly onWrong: () => void;
  /** Something failed that no reader waits for. */
  readonly onProblem: (error: unknown) => void;
  /** Asks upstream whether the first caller may have the blob. @throws WeirError upstream's answer */
  readonly admit: (request: PullRequest, digest: Digest) => Promise<number | undefined>;
  /** As a manifest of the repository lists it. */
  readonly listedSize: () => number | undefined;
  /** Finds peers to fetch the blob with; undefined if there are none, or nothing is to be gained. */
  readonly share: ((request: PullRequest, digest: Digest) => Promise<PeerSource | undefined>) | undefined;
}
