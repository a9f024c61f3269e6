/** Makes the node's lists of referrers, and tells when one stands in. */
import type { Config } from '../config/settings.ts';
import { Referrers, type ReferrersOptions } from '../pull/referrers.ts';
import type { Logger } from './logger.ts';
import type { Metrics } from './metrics.ts';

export function makeReferrers(
  parts: Pick<ReferrersOptions, 'upstream' | 'access' | 'clock'>,
  config: Config,
  metrics: Metrics,
  logger: Logger,
): Referrers {
  return new Referrers({
    ...parts,
    offlineTtl: config['access.offline-ttl'],
    onStale: (repository, subject, error) => {
      metrics.staleReferrers();
      logger.warn(
        { repository, subject, err: error },
        'upstream cannot be reached: referrers answered as last seen',
      );
    },
  });
}
