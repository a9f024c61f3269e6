/** The settings of one registry, and the events that the client reports. */
import type { ErrorCode } from '../util/errors.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { Credential } from './credential.ts';

/** Paths of PEM files. */
export interface ClientCertificate {
  readonly certFile: string;
  readonly keyFile: string;
}

/** What the folders of the runtimes say of one registry (certs-folders.ts). */
export type RegistryCertificates = Pick<RegistryConfig, 'caFiles' | 'clientCertificate'>;

export interface RegistryConfig {
  /** The address of the registry, if it is not `https://<host>`. The scheme says whether TLS is used. */
  readonly endpoint?: URL | undefined;
  /** Asked before the registry, in this order. */
  readonly mirrors?: readonly URL[] | undefined;
  /** Plain HTTP (true) or TLS (false) if `endpoint` is not set; default: plain on loopback only. */
  readonly plainHttp?: boolean | undefined;
  /** Redirects, and token servers, that give up TLS are followed. */
  readonly plainRedirects?: boolean | undefined;
  /** Accepts any certificate. Content fetched by digest is still verified by that digest. */
  readonly skipVerify?: boolean | undefined;
  /** Paths of PEM certificates that are trusted in addition to the usual ones. */
  readonly caFiles?: readonly string[] | undefined;
  /** Shown to the registry, for callers of this node alone. */
  readonly clientCertificate?: ClientCertificate | undefined;
  /** Used for callers that present no credential. */
  readonly credential?: Credential | undefined;
}

export type RequestKind = 'manifest' | 'blob' | 'token' | 'other';

/** Reports every request; for metrics. */
export interface UpstreamObserver {
  /** One HTTP request was answered (a status), or failed before its answer (a code). */
  request(registry: RegistryHost, kind: RequestKind, status: number | ErrorCode, seconds: number): void;
  /** Bytes of blobs that arrived. */
  bytes(registry: RegistryHost, n: number): void;
  /** A request is about to be repeated because of `reason`. */
  retry(registry: RegistryHost, reason: ErrorCode): void;
}
