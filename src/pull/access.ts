/**
 * Decides which caller may have which cached bytes (access mode `verify`).
 *
 * Cached bytes are handed out if three things hold:
 * 1. Upstream accepted this caller for this repository within the last 10 minutes. While upstream cannot be reached,
 *    24 hours count instead.
 * 2. Upstream said that this repository has the digest: by a HEAD, a GET, or a manifest of the repository that lists
 *    it. Otherwise a caller could fetch a private image's digest in the name of any public repository.
 * 3. This registry delivered these bytes, whole and verified, to this node or to the member that this node had them
 *    from. Otherwise a registry could claim another registry's private digest and so get that content handed out.
 *
 * The catalog keeps 2 and 3 apart: a registry's word is enough for the second, never for the third.
 *
 * What was imported (`access.trust-imported`, imports.ts) is handed out without any of the three, and proves nothing.
 *
 * A caller is remembered by a keyed hash of its credential, never by the credential.
 */
import { createHmac } from 'node:crypto';
import { abortable } from '../util/async.ts';
import type { AccessOptions, AccessRules } from './access-options.ts';
import { isWeirError, WeirError, UNANSWERED } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import { repositoryKey, type Repository } from '../oci/repository.ts';
import type { ListedAs } from '../store/catalog.ts';
import type { Caller } from '../upstream/caller.ts';

/** The repository that a caller asks for, and the caller. */
export interface PullRequest {
  readonly repository: Repository;
  readonly caller: Caller;
  readonly signal?: AbortSignal | undefined;
  /** The byte worker of the caller's connection. */
  readonly worker?: number | undefined;
}

/** The first status that is a failure of the server. Any lower one is upstream's word, however odd. */
const SERVER_ERROR = 500;

/** Descriptors of a manifest that are remembered. No longer list is: writing it would block everybody for seconds. */
const MAX_LISTED = 1_000;

/** Whether nobody has answered, as far as it matters: what upstream said last stands in. */
export function isOffline(error: unknown): boolean {
  if (isWeirError(error, 'upstream_status')) return Number(error.detail['status']) >= SERVER_ERROR;
  return isWeirError(error, ...UNANSWERED) || (error instanceof Error && error.name === 'TimeoutError');
}

/** Whether upstream was reached, although it has not decided: it throttles us, or its status is no decision. */
function hasAnswered(error: unknown): boolean {
  if (isWeirError(error, 'upstream_throttled')) return true;
  return isWeirError(error, 'upstream_status') && error.detail['retryAfter'] !== undefined;
}

export class Access {
  #options: AccessOptions;
  readonly #key: Uint8Array;
  /** Requests to upstream that are under way. */
  readonly #asking: Map<string, Promise<void>> = new Map();

  constructor(options: AccessOptions) {
    this.#options = options;
    this.#key = options.catalog.key('callers');
  }

  /** Other rules from now on, also for grants that are remembered. */
  reconfigure({ mode, ttl, offlineTtl }: AccessRules): void {
    this.#options = { ...this.#options, mode, ttl, offlineTtl };
  }

  /** The key by which a caller of this repository is remembered. */
  callerKey(caller: Caller, repository: Repository): string {
    if (caller === 'configured' && !this.#options.upstream.speaksFor(repository)) return 'anonymous';
    if (typeof caller === 'string') return caller;
    return caller.named((text) => createHmac('sha256', this.#key).update(text).digest('base64url'));
  }

  /** Upstream has delivered the whole of `digest` to this caller, and the digest was right. */
  delivered(request: PullRequest, digest: Digest): void {
    this.accepted(request);
    this.proven(request.repository, digest);
  }

  /** The whole of `digest`, verified, came from this registry, or from a member that had it from there. */
  proven(repository: Repository, digest: Digest): void {
    const { catalog, clock } = this.#options;
    if (this.isImported(repository, digest)) return; // a proof would outlive the rule
    catalog.addServed(repository, digest, clock.now());
    catalog.addProof({ registry: repository.registry, digest }, clock.now());
  }

  /** A manifest that upstream has in this repository lists these descriptors. */
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
    if (this.isImported(request.repository, digest)) return true;
    return mode === 'open' || (this.isIn(request.repository, digest, kind) && this.grantAge(request) < ttl);
  }

  /** The same while upstream has not decided. Call {@link offline} before. */
  wasAdmitted({ repository }: PullRequest, digest: Digest, kind: ListedAs): boolean {
    return this.#options.mode === 'open' || this.isIn(repository, digest, kind);
  }

  /** Whether upstream is known to have the digest in this repository. */
  isIn(repository: Repository, digest: Digest, kind: ListedAs): boolean {
    const { catalog } = this.#options;
    return catalog.isServed(repository, digest) || catalog.listedSize(repository, kind, digest) !== undefined;
  }

  /** Bytes of the blob, if a manifest of the repository lists it. */
  listedSize(repository: Repository, digest: Digest): number | undefined {
    const { catalog, imports } = this.#options;
    return imports?.sizeIn(repository, digest) ?? catalog.listedSize(repository, 'blob', digest);
  }

  /** Whether it is known that the digest was imported for this repository. */
  isImported(repository: Repository, digest: Digest): boolean {
    return this.#options.imports?.sizeIn(repository, digest) !== undefined;
  }

  /**
   * The size of a digest that was imported for this repository: everybody may have it. Members are not asked if the
   * registry has accepted the caller lately, and nobody is known to have imported anything of the repository.
   */
  async importedSize(request: PullRequest, digest: Digest): Promise<number | undefined> {
    const { imports, offlineTtl } = this.#options;
    const known = imports?.sizeIn(request.repository, digest);
    if (imports === undefined || known !== undefined) return known;
    if (!imports.hasSources(request.repository) && this.grantAge(request) < offlineTtl) return undefined;
    return await imports.findSize(request, digest);
  }

  /**
   * Whether members may be given this blob's bytes in the registry's name. It counts in any mode: members have their
   * own callers.
   */
  isProven(blob: RegistryBlob): boolean {
    const { catalog, imports } = this.#options;
    return imports?.isOf(blob) === true || catalog.isProven(blob);
  }

  /**
   * Whether upstream lets this caller have a blob that is not here yet. Asks upstream if that is not known.
   * @returns the blob's size in bytes; undefined if upstream did not say
   * @throws WeirError upstream's answer
   */
  async admit(request: PullRequest, digest: Digest): Promise<number | undefined> {
    const { mode, ttl, catalog, upstream } = this.#options;
    const imported = await this.importedSize(request, digest);
    if (imported !== undefined) return imported;
    const size = catalog.listedSize(request.repository, 'blob', digest);
    if (size !== undefined && (mode === 'open' || this.grantAge(request) < ttl)) return size;
    try {
      const { caller, signal } = request;
      const head = await upstream.headBlob(request.repository, digest, { caller, signal });
      this.accepted(request);
      return head.size ?? size;
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

  /** Upstream accepted this caller `age` milliseconds ago, as another member was told. It never makes a grant older. */
  acceptedAgo(request: PullRequest, age: number): void {
    if (age >= this.grantAge(request)) return;
    const { catalog, clock } = this.#options;
    catalog.setGrant(request.repository, this.#keyOf(request), clock.now() - age);
  }

  /** Records upstream's refusal; ignores any other error. */
  failed(request: PullRequest, error: unknown): void {
    if (!isWeirError(error, 'upstream_unauthorized', 'upstream_denied')) return;
    const { catalog, clock } = this.#options;
    catalog.deleteGrant(request.repository, this.#keyOf(request));
    const challenge = error.detail['challenge'];
    if (typeof challenge === 'string') catalog.setChallenge(request.repository, challenge, clock.now());
  }

  /**
   * Whether cached bytes may go to this caller: `granted`, or `unproven` if only bytes from this registry may.
   * @throws WeirError upstream's answer: `upstream_unauthorized`, `upstream_denied`, `blob_unknown`, …
   */
  async authorize(request: PullRequest, digest: Digest, kind: ListedAs): Promise<'granted' | 'unproven'> {
    const { mode, catalog } = this.#options;
    if (mode === 'open' || (await this.importedSize(request, digest)) !== undefined) return 'granted';
    if (!catalog.isProven({ registry: request.repository.registry, digest })) return 'unproven';
    await this.#check(request, digest, kind, this.isIn(request.repository, digest, kind));
    return 'granted';
  }

  /**
   * Lets a caller read a blob while a registry delivers it: the bytes are that registry's own, so need no proof.
   * @param delivering the repository, of the same registry, in whose name the blob is delivered
   * @throws WeirError upstream's answer
   */
  async join(request: PullRequest, digest: Digest, delivering: Repository): Promise<void> {
    const { repository } = request;
    if (delivering.registry !== repository.registry) {
      throw new WeirError(
        'internal',
        `a caller of ${repository.registry} at a blob of ${delivering.registry}`,
      );
    }
    if (this.#options.mode === 'open' || (await this.importedSize(request, digest)) !== undefined) return;
    const isIn = delivering.name === repository.name || this.isIn(repository, digest, 'blob');
    await this.#check(request, digest, 'blob', isIn);
  }

  /** Milliseconds since upstream accepted this caller for this repository; Infinity if it never did. */
  grantAge(request: PullRequest): number {
    const { catalog, clock } = this.#options;
    const at = catalog.grantedAt(request.repository, this.#keyOf(request));
    if (at === undefined) return Infinity;
    const age = clock.now() - at;
    return age < 0 ? Infinity : age; // it was written by a clock that was ahead: nobody knows how old it is
  }

  /**
   * Whether the caller's grant still holds although upstream has not decided now.
   * @param error why upstream has not decided. If upstream answered, if only to throttle us, the offline limit does not
   *   apply. Otherwise a caller could provoke the throttling and so keep an access that was withdrawn.
   */
  holds(request: PullRequest, error: unknown): boolean {
    const { mode, ttl, offlineTtl } = this.#options;
    const limit = hasAnswered(error) ? ttl : offlineTtl;
    return mode === 'open' || this.grantAge(request) < limit;
  }

  /** Whether the caller's grant still holds if upstream has not been asked, or if the reason is not known. */
  holdsOffline(request: PullRequest): boolean {
    return this.holds(request, undefined);
  }

  /**
   * Returns if the caller's grant holds while upstream has not decided.
   * @throws WeirError `upstream_unauthorized` with upstream's last challenge, so that the runtime comes back with a
   *   credential that may still hold; else `error`
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
   * Whether to believe that a digest or tag is gone if upstream tells this caller that it is unknown. A registry may
   * say so to a caller that it never accepted even though the content is there.
   */
  tellsOfAbsence(request: PullRequest): boolean {
    return this.grantAge(request) !== Infinity;
  }

  #keyOf({ repository, caller }: PullRequest): string {
    return this.callerKey(caller, repository);
  }

  /** Rules 1 and 2. */
  async #check(request: PullRequest, digest: Digest, kind: ListedAs, isIn: boolean): Promise<void> {
    if (isIn && this.grantAge(request) < this.#options.ttl) return;
    const caller = this.#keyOf(request);
    // One request renews the grant for all digests that are known to be in the repository.
    const key = `${repositoryKey(request.repository)} ${caller} ${isIn ? '' : digest}`;
    let asked = this.#asking.get(key);
    if (asked === undefined) {
      asked = this.#head(request, digest, kind).finally(() => this.#asking.delete(key));
      asked.catch(() => undefined); // every waiter may have given up; the others get it below
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

  /** Records a refusal, or that the repository no longer has the digest. */
  #toldOf(request: PullRequest, digest: Digest, error: unknown): void {
    this.failed(request, error);
    const isAbsent = isWeirError(error, 'blob_unknown', 'manifest_unknown');
    if (isAbsent && this.tellsOfAbsence(request))
      this.#options.catalog.removeFromRepository(request.repository, digest);
  }
}
