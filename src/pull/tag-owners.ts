/**
 * Tags across the cluster: two members ask upstream for all, and where they do not say the same each node asks for
 * itself (docs/adr/0013-two-tag-owners.md). Which two follows from the reference by rendezvous hashing; the next
 * in rank stand in. When upstream cannot be reached, members that know the reference can answer.
 *
 * A member's answer also says that upstream accepted this very caller (nothing, or this Bearer token); a caller with
 * another kind of credential is never spoken of to peers. That upstream refused a caller no member says for upstream:
 * the runtime takes its password to where a challenge sends it.
 */
import { LRUCache } from 'lru-cache';
import { SECOND, type Clock } from '../util/clock.ts';
import { isWeirError, WeirError } from '../util/errors.ts';
import type { Membership } from '../cluster/membership.ts';
import type { Member } from '../protocol/member.ts';
import { formatManifestReference, type ManifestReference } from '../oci/reference.ts';
import { repositoryKey } from '../oci/repository.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { placesOf } from '../util/ip-address.ts';
import { hashText, rank } from '../cluster/hrw.ts';
import {
  decodeReferenceAnswer,
  decodeReferenceQuestion,
  encodeReferenceAnswer,
  encodeReferenceQuestion,
  isTellable,
  isTellableAnswer,
  type ReferenceAnswer,
  type ReferenceQuestion,
} from '../protocol/reference-messages.ts';
import { bearerOf } from '../upstream/caller.ts';
import { isOffline, type PullRequest } from './access.ts';

/** The members that ask upstream: two must say the same, or one that lies would be believed. */
const OWNERS = 2;
/** Members that stand in for those of them that do not answer. */
const BACKUPS = 2;
/** First in rank among which the second owner is sought; twice as many as one address has members (cluster/record-sources.ts). */
const LOOKED_AT = 16;
/** Milliseconds for an owner's answer: one request to the registry, or its time-outs when it is dead. */
const OWNER_PATIENCE = 4 * SECOND;
/** Members asked at a time for what they remember, and in all. */
const ASKED_AT_ONCE = 8;
const ASKED_AT_MOST = 64;
const MEMORY_PATIENCE = 1 * SECOND;

/** Asks one member. */
export type AskMember = (
  peer: PeerId,
  query: Uint8Array,
  options: { readonly timeout: number; readonly signal?: AbortSignal | undefined },
) => Promise<Uint8Array>;

export interface TagOwnersOptions {
  readonly membership: Membership;
  readonly ask: AskMember;
  readonly clock: Clock;
  /** Answers as this node would for a caller of its own. */
  readonly answer: (query: ReferenceQuestion, signal: AbortSignal) => Promise<ReferenceAnswer>;
}

export interface SharedReference extends PullRequest {
  readonly reference: ManifestReference;
  readonly accept: string | undefined;
}

export type FoundReference = Extract<ReferenceAnswer, { status: 'found' }>;

export class TagOwners {
  readonly #options: TagOwnersOptions;
  /** Members that do not answer, for a moment. */
  readonly #silent: LRUCache<PeerId, true>;

  constructor(options: TagOwnersOptions) {
    this.#options = options;
    const perf = { now: (): number => options.clock.monotonic() };
    this.#silent = new LRUCache({ max: 1024, ttl: 5 * SECOND, perf });
  }

  /**
   * What the two members that ask for all agree on; undefined where this node is to ask upstream itself: it is one of
   * them, or they do not agree, or upstream refused the caller.
   * @throws WeirError `manifest_unknown`, `upstream_unreachable`
   */
  async ask(request: SharedReference): Promise<FoundReference | undefined> {
    const { membership } = this.#options;
    const query = questionOf(request, false);
    if (query === undefined || membership.live().length < 2) return undefined;
    const owners = ownersOf(membership.live(), request);
    if (owners.slice(0, OWNERS).includes(membership.self.peer)) return undefined;
    const left = owners.filter((peer) => !this.#silent.has(peer)).values();
    const [one, other] = await Promise.all([
      this.#nextAnswer(left, query, request.signal),
      this.#nextAnswer(left, query, request.signal),
    ]);
    return one && other && agreed(request, one, other);
  }

  /** The answer of the first one that gives any; both who ask take from one row, so that nobody is asked twice. */
  async #nextAnswer(
    left: IterableIterator<PeerId>,
    query: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<ReferenceAnswer | undefined> {
    for (const peer of left) {
      if (peer === this.#options.membership.self.peer) return undefined; // its turn to stand in
      const answer = await this.#askOne(peer, query, OWNER_PATIENCE, signal);
      if (answer !== undefined) return answer;
    }
    return undefined;
  }

  /** What most of those remember of it who are asked together, while upstream cannot be reached. */
  async recall(request: SharedReference): Promise<FoundReference | undefined> {
    const { membership } = this.#options;
    const query = questionOf(request, true);
    if (query === undefined) return undefined;
    const owners = ownersOf(membership.live(), request);
    const others = membership.live().map(({ peer }) => peer);
    const peers = [...new Set([...owners, ...others])].filter((peer) => peer !== membership.self.peer);
    for (let i = 0; i < Math.min(peers.length, ASKED_AT_MOST); i += ASKED_AT_ONCE) {
      const asked = peers.slice(i, i + ASKED_AT_ONCE);
      const answers = await Promise.all(
        asked.map((peer) => this.#askOne(peer, query, MEMORY_PATIENCE, request.signal)),
      );
      const found = inMajority(answers.filter((answer) => answer?.status === 'found'));
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Answers another member. @throws WeirError `peer_protocol` */
  async answer(bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const query = decodeReferenceQuestion(bytes);
    const answer = await this.#options.answer(query, signal);
    return encodeReferenceAnswer(isTellableAnswer(answer) ? answer : { status: 'refused' });
  }

  async #askOne(
    peer: PeerId,
    query: Uint8Array,
    timeout: number,
    signal: AbortSignal | undefined,
  ): Promise<ReferenceAnswer | undefined> {
    try {
      return decodeReferenceAnswer(await this.#options.ask(peer, query, { timeout, signal }));
    } catch (error) {
      signal?.throwIfAborted();
      this.#silent.set(peer, true);
      if (isWeirError(error, 'peer_protocol')) this.#options.membership.suspect(peer, 'protocol');
      return undefined; // the next one, or upstream itself
    }
  }
}

/** Undefined where the caller's credential must not leave the node, or the question cannot be put. */
function questionOf(request: SharedReference, knownOnly: boolean): Uint8Array | undefined {
  const { repository, reference, accept, caller } = request;
  const token = bearerOf(caller, repository.registry);
  const isSpokenOf = typeof caller === 'string' || token !== undefined;
  const query = { repository, reference, accept, token, knownOnly };
  return isSpokenOf && isTellable(query) ? encodeReferenceQuestion(query) : undefined;
}

/**
 * Members in the order in which they are asked about a reference. The second one is the first that is at another place
 * than the first: who makes up names until two of them rank first has not as many addresses.
 */
export function ownersOf(
  members: readonly Member[],
  { repository, reference }: Pick<SharedReference, 'repository' | 'reference'>,
): readonly PeerId[] {
  const key = hashText(`reference ${repositoryKey(repository)}:${formatManifestReference(reference)}`);
  const [first, ...others] = rank(members, key, LOOKED_AT);
  if (first === undefined) return [];
  const places = new Set(placesOf(first.controlAddresses));
  const isElsewhere = ({ controlAddresses }: Member): boolean =>
    placesOf(controlAddresses).every((place) => !places.has(place));
  const second = others.find(isElsewhere) ?? others[0];
  const backups = others.filter((member) => member !== second);
  return [first, ...(second === undefined ? [] : [second]), ...backups]
    .slice(0, OWNERS + BACKUPS)
    .map(({ peer }) => peer);
}

/** What two members say alike; undefined where upstream must be asked. */
function agreed(
  request: SharedReference,
  one: ReferenceAnswer,
  other: ReferenceAnswer,
): FoundReference | undefined {
  if (one.status === 'found' && other.status === 'found') {
    const isSame =
      one.digest === other.digest && one.mediaType === other.mediaType && one.size === other.size;
    const stale = one.stale || other.stale;
    return isSame ? { ...one, stale, granted: Math.max(one.granted, other.granted) } : undefined;
  }
  if (one.status !== other.status) return undefined;
  const named = `${repositoryKey(request.repository)}:${formatManifestReference(request.reference)}`;
  if (one.status === 'unknown') throw new WeirError('manifest_unknown', `upstream has no ${named}`);
  if (one.status === 'unreachable') {
    throw new WeirError('upstream_unreachable', `the members that ask for ${named} cannot reach upstream`);
  }
  return undefined; // a refusal, and what is to be presented instead, only upstream itself can say
}

/** What most of these say, and of those that say it the first; the grant is that of the oldest. */
function inMajority(answers: readonly FoundReference[]): FoundReference | undefined {
  const byDigest = Map.groupBy(answers, ({ digest }) => digest);
  const [most] = [...byDigest.values()].toSorted((a, b) => b.length - a.length);
  const [first] = most ?? [];
  if (most === undefined || first === undefined) return undefined;
  return { ...first, granted: Math.max(...most.map(({ granted }) => granted)) };
}

/** A failure to find out, in the words of the protocol. */
export function answerOf(error: unknown): ReferenceAnswer {
  if (isWeirError(error, 'manifest_unknown')) return { status: 'unknown' };
  // The last: this node may not go there for another one, which may for itself.
  if (isWeirError(error, 'upstream_unauthorized', 'upstream_denied', 'address_refused')) {
    return { status: 'refused' };
  }
  if (isOffline(error)) return { status: 'unreachable' };
  throw error;
}
