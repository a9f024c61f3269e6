/** The client of registries, as the configuration has it. */
import type { Clock } from '../util/clock.ts';
import type { Config } from '../config/settings.ts';
import type { BlobTransport } from '../upstream/blob-transport.ts';
import type { FoundCertificates } from '../upstream/certs-folders.ts';
import type { DocumentRoom } from '../upstream/document-room.ts';
import type { UpstreamObserver } from '../upstream/registry-config.ts';
import { Upstream } from '../upstream/upstream.ts';
import type { Logger } from './logger.ts';
import { upstreamSettings } from './reloadable.ts';

export interface MakeUpstreamOptions {
  readonly config: Config;
  /** Of the runtimes' own folders. */
  readonly runtimeCerts: FoundCertificates;
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
  const { config, runtimeCerts, version, logger, ...parts } = options;
  for (const problem of runtimeCerts.problems) logger.warn(problem);
  return new Upstream({
    ...parts,
    ...upstreamSettings(config, runtimeCerts),
    userAgent: `weir/${version}`,
    warn: (message) => logger.warn(message),
  });
}
