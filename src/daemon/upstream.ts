/** Turns the configuration into the client of registries. */
import type { Config } from '../config/settings.ts';
import type { ByteWorkers } from '../bytes/byte-workers.ts';
import { UpstreamClient } from '../bytes/upstream-client.ts';
import { readCertsFolders } from '../upstream/certs-folders.ts';
import { Upstream } from '../upstream/upstream.ts';
import type { UpstreamOptions } from '../upstream/upstream-options.ts';
import type { Logger } from './logger.ts';

export interface OpenUpstreamOptions extends Pick<
  UpstreamOptions,
  'via' | 'documents' | 'clock' | 'observer'
> {
  readonly config: Config;
  readonly version: string;
  readonly workers: ByteWorkers;
  readonly logger: Logger;
}

export function openUpstream({ config, version, workers, logger, ...rest }: OpenUpstreamOptions): Upstream {
  const runtimeCerts = readCertsFolders(config['upstream.certs-folders']);
  for (const problem of runtimeCerts.problems) logger.warn(problem);
  return new Upstream({
    ...rest,
    blobs: new UpstreamClient(workers),
    registries: config.registries,
    userAgent: `weir/${version}`,
    certificates: runtimeCerts.certificates,
    caFile: config['upstream.ca-file'],
    dockerConfig: config['upstream.docker-config'],
    connectTimeout: config['upstream.connect-timeout'],
    headerTimeout: config['upstream.header-timeout'],
    stallTimeout: config['upstream.stall-timeout'],
    retries: config['upstream.retries'],
    maxConnections: config['upstream.max-connections'],
    allowPrivate: config['upstream.allow-private'] === 'yes',
    warn: (message) => logger.warn(message),
  });
}
