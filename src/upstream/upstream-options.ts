/** The options of the registry client. */
import { SECOND, type Clock } from '../util/clock.ts';
import type { BlobTransport } from './blob-transport.ts';
import type { DocumentRoom } from './document-room.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { Lookup } from './guarded-lookup.ts';
import type { Environment } from './proxy.ts';
import type { RegistryCertificates, RegistryConfig, UpstreamObserver } from './registry-config.ts';

/** Defaults; times in milliseconds. */
export const LIMITS = {
  connectTimeout: 3 * SECOND,
  headerTimeout: 4 * SECOND,
  stallTimeout: 5 * SECOND,
  retries: 5,
  maxConnections: 32,
  allowPrivate: true,
} as const;

/** What may change while the client runs. Times in milliseconds; the defaults are in {@link LIMITS}. */
export interface UpstreamSettings {
  readonly registries?: ReadonlyMap<RegistryHost, RegistryConfig> | undefined;
  /** Used where `registries` names no certificates; unlike it, they widen no reach. */
  readonly certificates?: ReadonlyMap<RegistryHost, RegistryCertificates> | undefined;
  /** Path of PEM certificates that are trusted for all registries, in addition to the usual ones. */
  readonly caFile?: string | undefined;
  /** Path of a docker config.json. */
  readonly dockerConfig?: string | undefined;
  /** Milliseconds for DNS, TCP and TLS. */
  readonly connectTimeout?: number | undefined;
  /** Milliseconds until a response's header. */
  readonly headerTimeout?: number | undefined;
  /** Milliseconds without a byte of a body while the reader wants some. */
  readonly stallTimeout?: number | undefined;
  /** Repetitions without progress for a blob. */
  readonly retries?: number | undefined;
  /** Connections to one origin; of blobs at least one for each byte worker, and at least one of documents. */
  readonly maxConnections?: number | undefined;
  /** Whether registries and members may name addresses of private networks. */
  readonly allowPrivate?: boolean | undefined;
}

export interface UpstreamOptions extends UpstreamSettings {
  /** Reads the bodies of blobs. It belongs to this client alone. */
  readonly blobs: BlobTransport;
  /** `weir/<version>`. */
  readonly userAgent: string;
  /** This node's id, sent as `Weir-Via`, so that a mirror notices a request that goes in a circle. */
  readonly via?: string | undefined;
  /** Where manifests and lists count while they arrive; default: a room of its own. */
  readonly documents?: DocumentRoom | undefined;
  /** The source of HTTP_PROXY, HTTPS_PROXY and NO_PROXY; default `process.env`. */
  readonly environment?: Environment | undefined;
  /** Resolves names of servers that send documents; default `dns.lookup`, as byte workers always do. */
  readonly lookup?: Lookup | undefined;
  readonly clock?: Clock | undefined;
  readonly observer?: UpstreamObserver | undefined;
  /** Reports what an operator should know, such as an unusable docker config. Never contains a credential. */
  readonly warn?: ((message: string) => void) | undefined;
}

/** The settings alone, out of all options. */
export function settingsOf(options: UpstreamOptions): UpstreamSettings {
  const { registries, certificates, caFile, dockerConfig, connectTimeout, headerTimeout } = options;
  const { stallTimeout, retries, maxConnections, allowPrivate } = options;
  const times = { connectTimeout, headerTimeout, stallTimeout };
  return { registries, certificates, caFile, dockerConfig, ...times, retries, maxConnections, allowPrivate };
}
