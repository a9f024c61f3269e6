/**
 * Who may have what is cached (access mode `verify`).
 *
 * Cached bytes are handed out when three things hold:
 * 1. upstream accepted what this caller presents (nothing, or a credential) for this repository within the last
 *    10 minutes, or, while upstream cannot be reached, within the last 24 hours;
 * 2. upstream said that this repository holds the digest: else the digest of a private image could be fetched in
 *    the name of any public repository;
 * 3. this registry has delivered these bytes to this node itself: else the owner of a registry could have another
 *    registry's private content handed out by claiming to hold its digest.
 *
 * Callers are kept as keyed hashes of their credential, never as the credential.
 */
import { createHmac } from 'node:crypto';
import type { Clock } from '../clock.ts';
import { isWeirError, WeirError, type ErrorCode } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { repositoryKey, type Repository } from '../oci/repository.ts';
import type { Catalog } from '../store/catalog.ts';
import { formatAuthorization, type Credential } from '../upstream/credential.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { abortable } from './wait.ts';

export type AccessMode = 'verify' | 'open';

/** What a caller asks for, and as whom. */
export interface PullRequest {
  readonly repository: Repository;
  /** What the runtime sent with this request. */
  readonly credential: Credential | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface AccessOptions {
  readonly mode: AccessMode;
  /** Milliseconds for which upstream's word holds. */
  readonly ttl: number;
  /** Milliseconds for which it holds while upstream cannot be reached. */
  readonly offlineTtl: number;
  readonly catalog: Catalog;
  readonly upstream: Pick<Upstream, 'headBlob' | 'headManifest'>;
  readonly clock: Clock;
}

/** Failures that say nothing about the caller: upstream could not be asked. */
const OFFLINE: readonly ErrorCode[] = [
  'upstream_unreachable',
  'upstream_timeout',
  'upstream_stalled',
  'upstream_cut',
  'upstream_status',
  'upstream_throttled',
];

export function isOffline(error: unknown): boolean {
  return isWeirError(error, ...OFFLINE) || (error instanceof Error && error.name === 'TimeoutError');
}

export class Access {
  readonly #options: AccessOptions;
  readonly #key: Uint8Array;
  /** Questions to upstream that are under way. */
  readonly #asking: Map<string, Promise<void>> = new Map();

  constructor(options: AccessOptions) {
    this.#options = options;
    this.#key = options.catalog.key('callers');
  }

  /** The name under which a caller is remembered. */
  callerKey(credential: Credential | undefined): string {
    if (credential === undefined) return 'anonymous';
    return createHmac('sha256', this.#key).update(formatAuthorization(credential)).digest('base64url');
  }

  /** Upstream delivered (or just named) `digest` to this caller. */
  delivered({ repository, credential }: PullRequest, digest: Digest): void {
    const { catalog, clock } = this.#options;
    this.accepted({ repository, credential });
    catalog.addMember(repository.registry, repository.name, digest, clock.now());
  }

  /** Upstream answered this caller about this repository with anything but a refusal. */
  accepted({ repository, credential }: PullRequest): void {
    const { catalog, clock } = this.#options;
    catalog.setGrant(repositoryKey(repository), this.callerKey(credential), clock.now());
  }

  /** Takes note of what upstream's refusal means; anything else is passed over. */
  failed({ repository, credential }: PullRequest, error: unknown): void {
    if (!isWeirError(error, 'upstream_unauthorized', 'upstream_denied')) return;
    const { catalog, clock } = this.#options;
    const key = repositoryKey(repository);
    catalog.deleteGrant(key, this.callerKey(credential));
    const challenge = error.detail['challenge'];
    if (typeof challenge === 'string') catalog.setChallenge(key, challenge, clock.now());
  }

  /**
   * Whether cached bytes may go to this caller: `granted`, or `unproven` where only bytes from upstream itself may.
   * @param delivering the repository in whose name a registry is delivering these very bytes now
   * @throws WeirError what upstream answered: `upstream_unauthorized`, `upstream_denied`, `blob_unknown`, …
   */
  async authorize(
    request: PullRequest,
    digest: Digest,
    kind: 'blob' | 'manifest',
    delivering?: Repository,
  ): Promise<'granted' | 'unproven'> {
    const { mode, ttl, catalog } = this.#options;
    if (mode === 'open') return 'granted';
    const { registry, name } = request.repository;
    if (delivering?.registry !== registry && !catalog.isKnownTo(registry, digest)) return 'unproven';
    const flying = delivering?.registry === registry && delivering.name === name;
    const member = flying || catalog.isMember(registry, name, digest);
    if (member && this.grantAge(request) <= ttl) return 'granted';
    await this.#ask(request, digest, kind, member);
    return 'granted';
  }

  /** Milliseconds since upstream accepted this caller for this repository; Infinity where it never did. */
  grantAge({ repository, credential }: PullRequest): number {
    const { catalog, clock } = this.#options;
    const at = catalog.grantedAt(repositoryKey(repository), this.callerKey(credential));
    return at === undefined ? Infinity : Math.max(0, clock.now() - at);
  }

  /**
   * What holds while upstream cannot be reached.
   * @throws WeirError `upstream_unauthorized` with the challenge that upstream gave last, so that the runtime comes
   *   back with a credential that may still hold; else `error`
   */
  offline(request: PullRequest, error: unknown): void {
    const { mode, offlineTtl, catalog } = this.#options;
    if (mode === 'open' || this.grantAge(request) <= offlineTtl) return;
    const challenge = catalog.challenge(repositoryKey(request.repository));
    if (request.credential === undefined && challenge !== undefined) {
      const message = 'upstream cannot be reached; it asked for credentials last time';
      throw new WeirError('upstream_unauthorized', message, { cause: error, detail: { challenge } });
    }
    throw error;
  }

  async #ask(
    request: PullRequest,
    digest: Digest,
    kind: 'blob' | 'manifest',
    member: boolean,
  ): Promise<void> {
    const caller = this.callerKey(request.credential);
    // One question renews the grant for all digests that are known to be in the repository.
    const key = `${repositoryKey(request.repository)} ${caller} ${member ? '' : digest}`;
    let asked = this.#asking.get(key);
    if (asked === undefined) {
      asked = this.#head(request, digest, kind).finally(() => this.#asking.delete(key));
      asked.catch(() => undefined); // every waiter may have given up; those who have not hear of it below
      this.#asking.set(key, asked);
    }
    try {
      await abortable(asked, request.signal);
    } catch (error) {
      if (!isOffline(error) || !member) throw error;
      this.offline(request, error);
    }
  }

  async #head(request: PullRequest, digest: Digest, kind: 'blob' | 'manifest'): Promise<void> {
    const { upstream, catalog } = this.#options;
    const { repository, credential } = request;
    try {
      if (kind === 'blob') await upstream.headBlob(repository, digest, { credential });
      else await upstream.headManifest(repository, { kind: 'digest', digest }, { credential });
    } catch (error) {
      this.failed(request, error);
      if (isWeirError(error, 'blob_unknown', 'manifest_unknown')) {
        catalog.removeMember(repository.registry, repository.name, digest);
      }
      throw error;
    }
    this.delivered(request, digest);
  }
}
