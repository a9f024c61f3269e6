/**
 * Tags across the cluster: two owners ask upstream for all members. If the two disagree, each node asks for itself
 * (docs/adr/0013-two-tag-owners.md). Rendezvous hashing (HRW) of the reference picks the owners; the next in
 * rank are their backups. If upstream cannot be reached, members that know the reference can answer.
 *
 * A member's answer also says that upstream accepted this very caller (anonymous, or with this Bearer token). A
 * caller with a credential of another kind is never mentioned to peers. No member reports a refusal in upstream's
 * name, because a challenge decides where the runtime sends its password.
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

/** Members that ask upstream: two must agree, otherwise one that lies would be believed. */
const OWNERS = 2;
/** Members that answer instead of owners that do not. */
const BACKUPS = 2;
/** Ranks in which the second owner is sought: twice as many as one address has members (cluster/record-sources.ts). */
const LOOKED_AT = 16;
/** Milliseconds for an owner's answer: one request to the registry, or its time-outs when it is dead. */
const OWNER_PATIENCE = 4 * SECOND;
/** Members asked for what they remember: at a time, and in all. */
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
  /** Answers as this node would answer its own caller. */
  readonly answer: (query: ReferenceQuestion, signal: AbortSignal) => Promise<ReferenceAnswer>;
}

export interface SharedReference extends PullRequest {
  readonly reference: ManifestReference;
  readonly accept: string | undefined;
}

export type FoundReference = Extract<ReferenceAnswer, { status: 'found' }>;

export class TagOwners {
  readonly #options: TagOwnersOptions;
  /** Members that did not answer within the last few seconds. */
  readonly #silent: LRUCache<PeerId, true>;

  constructor(options: TagOwnersOptions) {
    this.#options = options;
    const perf = { now: (): number => options.clock.monotonic() };
    this.#silent = new LRUCache({ max: 1024, ttl: 5 * SECOND, perf });
  }

  /**
   * The answer on which the two owners agree. Undefined if this node must ask upstream itself: it is one of the owners,
   * or they disagree, or upstream refused the caller.
   * @throws WeirError `manifest_unknown`, `upstream_unreachable`
   */
  async ask(request: SharedReference): Promise<FoundReference | undefined> {
    const { membership } = this.#options;
    const query = queryOf(request, false);
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

  /** The first answer. Both calls take peers from the same iterator, so that no peer is asked twice. */
  async #nextAnswer(
    left: IterableIterator<PeerId>,
    query: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<ReferenceAnswer | undefined> {
    for (const peer of left) {
      if (peer === this.#options.membership.self.peer) return undefined; // this node is the next backup
      const answer = await this.#askOne(peer, query, OWNER_PATIENCE, signal);
      if (answer !== undefined) return answer;
    }
    return undefined;
  }

  /** The answer that most members of one batch remember, while upstream cannot be reached. */
  async recall(request: SharedReference): Promise<FoundReference | undefined> {
    const { membership } = this.#options;
    const query = queryOf(request, true);
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
      return undefined; // the next member is asked, or upstream itself
    }
  }
}

/** Undefined if the caller's credential must not leave the node, or the query cannot be encoded. */
function queryOf(request: SharedReference, knownOnly: boolean): Uint8Array | undefined {
  const { repository, reference, accept, caller } = request;
  const token = bearerOf(caller, repository.registry);
  const isMentionable = typeof caller === 'string' || token !== undefined;
  const query = { repository, reference, accept, token, knownOnly };
  return isMentionable && isTellable(query) ? encodeReferenceQuestion(query) : undefined;
}

/**
 * Members in the order in which they are asked about a reference. The second is the best-ranked one at another place
 * (address, or /64 of IPv6) than the first: a peer ID that ranks first can be made up at will, a place cannot.
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

/** The answer that both members gave; undefined if upstream must be asked. */
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
  return undefined; // only upstream itself may refuse a caller, and say which credential it wants
}

/** The first answer with the most frequent digest, with the oldest grant of those that agree. */
function inMajority(answers: readonly FoundReference[]): FoundReference | undefined {
  const byDigest = Map.groupBy(answers, ({ digest }) => digest);
  const [most] = [...byDigest.values()].toSorted((a, b) => b.length - a.length);
  const [first] = most ?? [];
  if (most === undefined || first === undefined) return undefined;
  return { ...first, granted: Math.max(...most.map(({ granted }) => granted)) };
}

/** The protocol's answer for an error. */
export function answerOf(error: unknown): ReferenceAnswer {
  if (isWeirError(error, 'manifest_unknown')) return { status: 'unknown' };
  // `address_refused`: this node may not go to that address for a member, which may go there itself.
  if (isWeirError(error, 'upstream_unauthorized', 'upstream_denied', 'address_refused')) {
    return { status: 'refused' };
  }
  if (isOffline(error)) return { status: 'unreachable' };
  throw error;
}
