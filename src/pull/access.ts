/**
 * Who may have what is cached (access mode `verify`).
 *
 * Cached bytes are handed out when three things hold:
 * 1. upstream accepted this caller for this repository within the last 10 minutes, or, while upstream cannot be reached,
 *    within the last 24 hours;
 * 2. upstream said that this repository has the digest, by a HEAD, a GET, or a manifest of the repository that lists it:
 *    else the digest of a private image could be fetched in the name of any public repository;
 * 3. this registry has delivered these bytes, whole and verified, to this node or to a member that this node had them
 *    from: else the owner of a registry could have another registry's private content handed out by claiming to have
 *    its digest.
 *
 * 2 and 3 are told apart in the catalog: a registry's word is enough for the second, never for the third.
 *
 * Callers are kept as keyed hashes of their credential, never as the credential.
 */
import { createHmac } from 'node:crypto';
import { abortable } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { isWeirError, WeirError, type ErrorCode } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import { repositoryKey, type RegistryHost, type Repository } from '../oci/repository.ts';
import type { Catalog, ListedAs } from '../store/catalog.ts';
import type { Caller } from '../upstream/caller.ts';
import type { Upstream } from '../upstream/upstream.ts';

export type AccessMode = 'verify' | 'open';

/** What a caller asks for, and as whom. */
export interface PullRequest {
  readonly repository: Repository;
  readonly caller: Caller;
  readonly signal?: AbortSignal | undefined;
}

export interface AccessOptions {
  readonly mode: AccessMode;
  /** Milliseconds for which upstream's word holds. */
  readonly ttl: number;
  /** Milliseconds for which it holds while upstream cannot be reached. */
  readonly offlineTtl: number;
  readonly catalog: Catalog;
  readonly upstream: Pick<Upstream, 'headBlob' | 'headManifest' | 'speaksFor'>;
  readonly clock: Clock;
}

/** Failures that say nothing about the caller: upstream has not decided. */
const UNDECIDED: readonly ErrorCode[] = [
  'upstream_unreachable',
  'upstream_timeout',
  'upstream_stalled',
  'upstream_cut',
  'upstream_status',
  'upstream_throttled',
];

/** What one manifest lists and is remembered; a longer list costs everybody a write of seconds, and is remembered by nobody. */
const MAX_LISTED = 1_000;

export function isOffline(error: unknown): boolean {
  return isWeirError(error, ...UNDECIDED) || (error instanceof Error && error.name === 'TimeoutError');
}

/** Whether upstream is there, and has merely not decided: it asks for patience, or answers what is no answer. */
function hasAnswered(error: unknown): boolean {
  if (isWeirError(error, 'upstream_throttled')) return true;
  if (!isWeirError(error, 'upstream_status')) return false;
  const { status, retryAfter } = error.detail;
  return retryAfter !== undefined || (typeof status === 'number' && status < 500);
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

  /** The name under which a caller of this registry is remembered. */
  callerKey(caller: Caller, registry: RegistryHost): string {
    if (caller === 'configured' && !this.#options.upstream.speaksFor(registry)) return 'anonymous';
    if (typeof caller === 'string') return caller;
    return caller.named((text) => createHmac('sha256', this.#key).update(text).digest('base64url'));
  }

  /** Upstream has delivered the whole of `digest` to this caller, and it was right. */
  delivered(request: PullRequest, digest: Digest): void {
    this.accepted(request);
    this.proven(request.repository, digest);
  }

  /** The whole of `digest`, verified, came from this registry, or from a member that had it from there. */
  proven(repository: Repository, digest: Digest): void {
    const { catalog, clock } = this.#options;
    catalog.addServed(repository, digest, clock.now());
    catalog.addProof({ registry: repository.registry, digest }, clock.now());
  }

  /** A manifest that upstream has in this repository lists these. */
  listed(
    repository: Repository,
    kind: ListedAs,
    descriptors: readonly { readonly digest: Digest; readonly size: number }[],
  ): void {
    const { catalog, clock } = this.#options;
    if (descriptors.length > MAX_LISTED) return;
    catalog.addListed(repository, kind, descriptors, clock.now());
  }

  /** Whether upstream is known to let this caller have the digest, without asking it again. */
  isAdmitted(request: PullRequest, digest: Digest, kind: ListedAs): boolean {
    const { mode, ttl } = this.#options;
    return mode === 'open' || (this.isIn(request.repository, digest, kind) && this.grantAge(request) <= ttl);
  }

  /** Whether upstream is known to have the digest in this repository. */
  isIn(repository: Repository, digest: Digest, kind: ListedAs): boolean {
    const { catalog } = this.#options;
    return catalog.isServed(repository, digest) || catalog.listedSize(repository, kind, digest) !== undefined;
  }

  /** Whether bytes of this digest may be handed to members in the registry's name, in any mode: they have callers of their own. */
  isProven(blob: RegistryBlob): boolean {
    return this.#options.catalog.isProven(blob);
  }

  /**
   * Whether upstream lets this caller have the blob, which is not here yet; asks it where that is not known.
   * @returns bytes of the blob; undefined where upstream did not tell
   * @throws WeirError what upstream answered
   */
  async admit(request: PullRequest, digest: Digest): Promise<number | undefined> {
    const { mode, ttl, catalog, upstream } = this.#options;
    const size = catalog.listedSize(request.repository, 'blob', digest);
    if (size !== undefined && (mode === 'open' || this.grantAge(request) <= ttl)) return size;
    try {
      const { caller, signal } = request;
      const head = await upstream.headBlob(request.repository, digest, { caller, signal });
      this.accepted(request);
      return head.size;
    } catch (error) {
      this.#toldOf(request, digest, error);
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
    catalog.setGrant(request.repository, this.#keyOf(request), clock.now() - age);
  }

  /** Takes note of what upstream's refusal means; anything else is passed over. */
  failed(request: PullRequest, error: unknown): void {
    if (!isWeirError(error, 'upstream_unauthorized', 'upstream_denied')) return;
    const { catalog, clock } = this.#options;
    catalog.deleteGrant(request.repository, this.#keyOf(request));
    const challenge = error.detail['challenge'];
    if (typeof challenge === 'string') catalog.setChallenge(request.repository, challenge, clock.now());
  }

  /**
   * Whether cached bytes may go to this caller: `granted`, or `unproven` if only bytes from this registry may.
   * @throws WeirError what upstream answered: `upstream_unauthorized`, `upstream_denied`, `blob_unknown`, …
   */
  async authorize(request: PullRequest, digest: Digest, kind: ListedAs): Promise<'granted' | 'unproven'> {
    if (this.#options.mode === 'open') return 'granted';
    if (!this.isProven({ registry: request.repository.registry, digest })) return 'unproven';
    await this.#check(request, digest, kind, this.isIn(request.repository, digest, kind));
    return 'granted';
  }

  /**
   * Lets a caller read along while a registry delivers a blob: whatever comes is that registry's own.
   * @param delivering the repository, of the same registry, in whose name it is delivered
   * @throws WeirError what upstream answered
   */
  async join(request: PullRequest, digest: Digest, delivering: Repository): Promise<void> {
    const { repository } = request;
    if (delivering.registry !== repository.registry) {
      throw new WeirError(
        'internal',
        `a caller of ${repository.registry} at a blob of ${delivering.registry}`,
      );
    }
    if (this.#options.mode === 'open') return;
    const isIn = delivering.name === repository.name || this.isIn(repository, digest, 'blob');
    await this.#check(request, digest, 'blob', isIn);
  }

  /** Milliseconds since upstream accepted this caller for this repository; Infinity where it never did. */
  grantAge(request: PullRequest): number {
    const { catalog, clock } = this.#options;
    const at = catalog.grantedAt(request.repository, this.#keyOf(request));
    return at === undefined ? Infinity : Math.max(0, clock.now() - at);
  }

  /**
   * Whether upstream's word for this caller holds although upstream has not decided now.
   * @param error why it has not. One that answers, if only that it is asked too often, is not away: who may cause that
   *   would keep an access that was withdrawn.
   */
  holds(request: PullRequest, error: unknown): boolean {
    const { mode, ttl, offlineTtl } = this.#options;
    const limit = hasAnswered(error) ? ttl : offlineTtl;
    return mode === 'open' || this.grantAge(request) <= limit;
  }

  /** The same, if it is not known why, or whether, upstream cannot be asked. */
  holdsOffline(request: PullRequest): boolean {
    return this.holds(request, undefined);
  }

  /**
   * What holds while upstream has not decided.
   * @throws WeirError `upstream_unauthorized` with the challenge that upstream gave last, so that the runtime comes
   *   back with a credential that may still hold; else `error`
   */
  offline(request: PullRequest, error: unknown): void {
    const { catalog } = this.#options;
    if (this.holds(request, error)) return;
    const challenge = catalog.challenge(request.repository);
    if (typeof request.caller === 'string' && challenge !== undefined) {
      const message = 'upstream cannot be reached; it asked for credentials last time';
      throw new WeirError('upstream_unauthorized', message, { cause: error, detail: { challenge } });
    }
    throw error;
  }

  /**
   * Upstream says that the repository has not got the digest, or the tag: to a caller that it has accepted before it is
   * gone; a stranger may be told so of what is there.
   */
  tellsOfAbsence(request: PullRequest): boolean {
    return this.grantAge(request) !== Infinity;
  }

  #keyOf({ repository, caller }: PullRequest): string {
    return this.callerKey(caller, repository.registry);
  }

  /** Rules 1 and 2. */
  async #check(request: PullRequest, digest: Digest, kind: ListedAs, isIn: boolean): Promise<void> {
    if (isIn && this.grantAge(request) <= this.#options.ttl) return;
    const caller = this.#keyOf(request);
    // One question renews the grant for all digests that are known to be in the repository.
    const key = `${repositoryKey(request.repository)} ${caller} ${isIn ? '' : digest}`;
    let asked = this.#asking.get(key);
    if (asked === undefined) {
      asked = this.#head(request, digest, kind).finally(() => this.#asking.delete(key));
      asked.catch(() => undefined); // every waiter may have given up; those who have not hear of it below
      this.#asking.set(key, asked);
    }
    try {
      await abortable(asked, request.signal);
    } catch (error) {
      if (!isOffline(error) || !isIn) throw error;
      this.offline(request, error);
    }
  }

  async #head(request: PullRequest, digest: Digest, kind: ListedAs): Promise<void> {
    const { upstream, catalog, clock } = this.#options;
    const { repository, caller } = request;
    try {
      if (kind === 'blob') await upstream.headBlob(repository, digest, { caller });
      else await upstream.headManifest(repository, { kind: 'digest', digest }, { caller });
    } catch (error) {
      this.#toldOf(request, digest, error);
      throw error;
    }
    this.accepted(request);
    catalog.addServed(repository, digest, clock.now());
  }

  /** Takes note of what upstream's answer about a digest means. */
  #toldOf(request: PullRequest, digest: Digest, error: unknown): void {
    this.failed(request, error);
    const isAbsent = isWeirError(error, 'blob_unknown', 'manifest_unknown');
    if (isAbsent && this.tellsOfAbsence(request))
      this.#options.catalog.removeFromRepository(request.repository, digest);
  }
}
