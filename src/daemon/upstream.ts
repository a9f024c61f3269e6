/** The client of registries, as the configuration has it. */
import type { Clock } from '../util/clock.ts';
import type { Config } from '../config/settings.ts';
import type { BlobTransport } from '../upstream/blob-transport.ts';
import { readCertsFolders } from '../upstream/certs-folders.ts';
import type { DocumentRoom } from '../upstream/document-room.ts';
import type { UpstreamObserver } from '../upstream/registry-config.ts';
import { Upstream } from '../upstream/upstream.ts';
import type { Logger } from './logger.ts';

export interface MakeUpstreamOptions {
  readonly config: Config;
  readonly version: string;
  /** Names this node to others that a request passes. */
  readonly via: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly documents: DocumentRoom;
  readonly blobs: BlobTransport;
  readonly observer: UpstreamObserver;
}

export function makeUpstream(options: MakeUpstreamOptions): Upstream {
  const { config, version, logger, ...parts } = options;
  const runtimeCerts = readCertsFolders(config['upstream.certs-folders']);
  for (const problem of runtimeCerts.problems) logger.warn(problem);
  return new Upstream({
    ...parts,
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
