/**
 * Who may have what is cached (access mode `verify`).
 *
 * Cached bytes are handed out when three things hold:
 * 1. upstream accepted what this caller presents (nothing, or a credential) for this repository within the last
 *    10 minutes, or, while upstream cannot be reached, within the last 24 hours;
 * 2. upstream said that this repository holds the digest, by a HEAD or by a manifest of the repository that lists
 *    it: else the digest of a private image could be fetched in the name of any public repository;
 * 3. this registry has delivered these bytes, to this node or to a member that this node had them from: else the
 *    owner of a registry could have another registry's private content handed out by claiming to hold its digest.
 *
 * Callers are kept as keyed hashes of their credential, never as the credential.
 */
import { createHmac } from 'node:crypto';
import { abortable } from '../abortable.ts';
import type { Clock } from '../clock.ts';
import { isWeirError, WeirError, type ErrorCode } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { repositoryKey, type RegistryHost, type Repository } from '../oci/repository.ts';
import type { Catalog } from '../store/catalog.ts';
import { formatAuthorization, type Credential } from '../upstream/credential.ts';
import type { Upstream } from '../upstream/upstream.ts';

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
  delivered(request: PullRequest, digest: Digest): void {
    this.accepted(request);
    this.proven(request.repository, digest);
  }

  /** Bytes of `digest` came from this registry, or from a member that had them from it. */
  proven(repository: Repository, digest: Digest): void {
    const { catalog, clock } = this.#options;
    catalog.addMember(repository.registry, repository.name, digest, clock.now());
  }

  /** A manifest that upstream has in this repository lists these. */
  listed(repository: Repository, descriptors: readonly { digest: Digest; size: number }[]): void {
    const { catalog, clock } = this.#options;
    const { registry, name } = repository;
    for (const { digest, size } of descriptors) catalog.addListed(registry, name, digest, size, clock.now());
  }

  /** Whether upstream is known to let this caller have the digest, without asking it again. */
  isAdmitted(request: PullRequest, digest: Digest): boolean {
    const { mode, ttl } = this.#options;
    return mode === 'open' || (this.isMember(request.repository, digest) && this.grantAge(request) <= ttl);
  }

  /** Whether upstream is known to have the digest in this repository. */
  isMember({ registry, name }: Repository, digest: Digest): boolean {
    const { catalog } = this.#options;
    return (
      catalog.isMember(registry, name, digest) || catalog.listedSize(registry, name, digest) !== undefined
    );
  }

  /** Whether bytes of this digest may be handed to members in the registry's name. */
  isProven(registry: RegistryHost, digest: Digest): boolean {
    const { mode, catalog } = this.#options;
    return mode === 'open' || catalog.isKnownTo(registry, digest);
  }

  /**
   * Whether upstream lets this caller have the blob, which is not here yet; asks it where that is not known.
   * @returns bytes of the blob; undefined where upstream did not tell
   * @throws WeirError what upstream answered
   */
  async admit(request: PullRequest, digest: Digest): Promise<number | undefined> {
    const { mode, ttl, catalog, upstream } = this.#options;
    const { registry, name } = request.repository;
    const size = catalog.listedSize(registry, name, digest);
    if (size !== undefined && (mode === 'open' || this.grantAge(request) <= ttl)) return size;
    try {
      const { credential, signal } = request;
      const head = await upstream.headBlob(request.repository, digest, { credential, signal });
      this.accepted(request);
      return head.size;
    } catch (error) {
      this.failed(request, error);
      if (size === undefined || !isOffline(error)) throw error;
      this.offline(request, error);
      return size;
    }
  }

  /** Upstream answered this caller about this repository with anything but a refusal. */
  accepted(request: PullRequest): void {
    this.acceptedAgo(request, 0);
  }

  /** The same, `age` milliseconds ago: what another member was told. It never makes a grant older. */
  acceptedAgo(request: PullRequest, age: number): void {
    if (age >= this.grantAge(request)) return;
    const { catalog, clock } = this.#options;
    const { repository, credential } = request;
    catalog.setGrant(repositoryKey(repository), this.callerKey(credential), clock.now() - age);
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
    const member = flying || this.isMember(request.repository, digest);
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

  /** Whether upstream's word for this caller holds while it cannot be reached. */
  holdsOffline(request: PullRequest): boolean {
    const { mode, offlineTtl } = this.#options;
    return mode === 'open' || this.grantAge(request) <= offlineTtl;
  }

  /**
   * What holds while upstream cannot be reached.
   * @throws WeirError `upstream_unauthorized` with the challenge that upstream gave last, so that the runtime comes
   *   back with a credential that may still hold; else `error`
   */
  offline(request: PullRequest, error: unknown): void {
    const { catalog } = this.#options;
    if (this.holdsOffline(request)) return;
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
