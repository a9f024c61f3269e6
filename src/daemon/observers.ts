/** What the log and the metrics hear of blobs and manifests. */
import type { Digest } from '../oci/digest.ts';
import type { ManifestsObserver } from '../pull/manifests.ts';
import { cannotKeep, type StoreUsage } from '../store/store.ts';
import type { WeirError } from '../util/errors.ts';
import { keepsNothing } from './disk-watch.ts';
import type { Logger } from './logger.ts';
import type { Metrics } from './metrics.ts';

/** @param handedOut a runtime gets this manifest, or index */
export function observeManifests(
  metrics: Metrics,
  logger: Logger,
  handedOut: ManifestsObserver['handedOut'],
): ManifestsObserver {
  return {
    cacheHit: (source) => metrics.cacheHit('manifest', source),
    cacheMiss: () => metrics.cacheMiss('manifest'),
    staleTag: (repository, tag, error) => {
      metrics.staleTag();
      logger.warn(
        { repository, tag, err: error },
        'upstream cannot be reached: tag answered with its last known digest',
      );
    },
    handedOut,
    problem: (message, error) => logger.warn({ err: error }, message),
  };
}

/** A blob was pulled, or not. */
export function logPull(
  logger: Logger,
  usage: StoreUsage,
  digest: Digest,
  failure: WeirError | undefined,
): void {
  if (failure === undefined) logger.info({ digest }, 'blob pulled');
  else if (cannotKeep(failure) && keepsNothing(usage))
    logger.debug({ digest, err: failure }, 'blob not kept');
  else logger.warn({ digest, err: failure }, 'blob not pulled');
}
