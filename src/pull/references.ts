/**
 * Tags across the cluster: one member asks upstream for all. Which one that is follows from the reference by
 * rendezvous hashing; the next in rank stands in. When upstream cannot be reached, any member that knows the
 * reference can answer.
 *
 * A member's answer also says that upstream accepted this very caller (nothing, or this Bearer token); a caller with
 * another kind of credential is never spoken of to peers.
 */
import { LRUCache } from 'lru-cache';
import { SECOND, type Clock } from '../clock.ts';
import { isWeirError, WeirError } from '../errors.ts';
import type { Membership } from '../membership/member.ts';
import { formatManifestReference, type ManifestReference } from '../oci/reference.ts';
import { repositoryKey } from '../oci/repository.ts';
import type { PeerName } from '../peer/peer-name.ts';
import { hashText, rank } from '../swarm/hrw.ts';
import type { OnBehalfOf } from '../upstream/reach.ts';
import {
  decodeReferenceAnswer,
  decodeReferenceQuestion,
  encodeReferenceAnswer,
  encodeReferenceQuestion,
  type ReferenceAnswer,
  type ReferenceQuestion,
} from '../wire/references.ts';
import { isOffline, type PullRequest } from './access.ts';

/** The member that asks upstream, and its stand-in. */
const OWNERS = 2;
/** Milliseconds for an owner's answer: one request to the registry, or its time-outs when it is dead. */
const OWNER_PATIENCE: number = 4 * SECOND;
/** Members asked at a time for what they remember, and in all. */
const ASKED_AT_ONCE = 8;
const ASKED_AT_MOST = 64;
const MEMORY_PATIENCE: number = 1 * SECOND;

/** Asks one member. */
export type AskMember = (
  peer: PeerName,
  question: Uint8Array,
  options: { readonly timeout: number; readonly signal?: AbortSignal | undefined },
) => Promise<Uint8Array>;

export interface ReferencesOptions {
  readonly membership: Membership;
  readonly ask: AskMember;
  readonly clock: Clock;
  /** Answers as this node would for a caller of its own. */
  readonly answer: (question: ReferenceQuestion, signal: AbortSignal) => Promise<ReferenceAnswer>;
}

export interface SharedReference extends PullRequest {
  readonly reference: ManifestReference;
  readonly accept: string | undefined;
  readonly onBehalfOf?: OnBehalfOf;
}

export class References {
  readonly #options: ReferencesOptions;
  /** Members that do not answer, for a moment. */
  readonly #silent: LRUCache<PeerName, true>;

  constructor(options: ReferencesOptions) {
    this.#options = options;
    const perf = { now: (): number => options.clock.monotonic() };
    this.#silent = new LRUCache({ max: 1024, ttl: 5 * SECOND, perf });
  }

  /**
   * What the member that asks for all says; undefined where this node is the one to ask upstream.
   * @throws WeirError `manifest_unknown`, `upstream_unauthorized`, `upstream_unreachable`
   */
  async ask(request: SharedReference): Promise<Extract<ReferenceAnswer, { status: 'found' }> | undefined> {
    const { membership } = this.#options;
    const question = questionOf(request, false);
    if (question === undefined || membership.live().length < 2) return undefined;
    for (const { peer } of this.#owners(request)) {
      if (peer === membership.self.peer) return undefined;
      if (this.#silent.has(peer)) continue;
      const answer = await this.#askOne(peer, question, OWNER_PATIENCE, request.signal);
      if (answer !== undefined) return settled(request, answer);
    }
    return undefined;
  }

  /** What any member remembers of it, while upstream cannot be reached. */
  async recall(request: SharedReference): Promise<Extract<ReferenceAnswer, { status: 'found' }> | undefined> {
    const { membership } = this.#options;
    const question = questionOf(request, true);
    if (question === undefined) return undefined;
    const owners = this.#owners(request);
    const others = membership.live().filter((member) => !owners.includes(member));
    const peers = [...owners, ...others]
      .map(({ peer }) => peer)
      .filter((peer) => peer !== membership.self.peer);
    for (let i = 0; i < Math.min(peers.length, ASKED_AT_MOST); i += ASKED_AT_ONCE) {
      const answers = peers.slice(i, i + ASKED_AT_ONCE).map(async (peer) => {
        const answer = await this.#askOne(peer, question, MEMORY_PATIENCE, request.signal);
        if (answer?.status !== 'found') throw new WeirError('not_found', 'it does not know either');
        return answer;
      });
      try {
        return await Promise.any(answers);
      } catch {
        request.signal?.throwIfAborted(); // none of these knows it: the next ones
      }
    }
    return undefined;
  }

  /** Answers another member. @throws WeirError `peer_protocol` */
  async answer(bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const question = decodeReferenceQuestion(bytes);
    return encodeReferenceAnswer(await this.#options.answer(question, signal));
  }

  #owners({ repository, reference }: SharedReference): readonly { readonly peer: PeerName }[] {
    const key = hashText(`reference ${repositoryKey(repository)}:${formatManifestReference(reference)}`);
    return rank(this.#options.membership.live(), key, OWNERS);
  }

  async #askOne(
    peer: PeerName,
    question: Uint8Array,
    timeout: number,
    signal: AbortSignal | undefined,
  ): Promise<ReferenceAnswer | undefined> {
    try {
      return decodeReferenceAnswer(await this.#options.ask(peer, question, { timeout, signal }));
    } catch (error) {
      signal?.throwIfAborted();
      this.#silent.set(peer, true);
      if (isWeirError(error, 'peer_protocol')) this.#options.membership.suspect(peer, 'protocol');
      return undefined; // the next one, or upstream itself
    }
  }
}

/** Undefined where the caller's credential must not leave the node. */
function questionOf(request: SharedReference, knownOnly: boolean): Uint8Array | undefined {
  const { repository, reference, accept, credential } = request;
  if (credential?.kind === 'basic') return undefined;
  return encodeReferenceQuestion({ repository, reference, accept, token: credential?.token, knownOnly });
}

function settled(
  request: SharedReference,
  answer: ReferenceAnswer,
): Extract<ReferenceAnswer, { status: 'found' }> {
  const { status } = answer;
  if (status === 'found') return answer;
  const named = `${repositoryKey(request.repository)}:${formatManifestReference(request.reference)}`;
  if (status === 'unknown') throw new WeirError('manifest_unknown', `upstream has no ${named}`);
  if (status === 'unreachable') {
    throw new WeirError('upstream_unreachable', `the member that asks for ${named} cannot reach upstream`);
  }
  const detail = answer.challenge === undefined ? {} : { detail: { challenge: answer.challenge } };
  throw new WeirError('upstream_unauthorized', `upstream refused ${named} to this caller`, detail);
}

/** A failure to find out, in the words of the protocol. */
export function answerOf(error: unknown): ReferenceAnswer {
  if (isWeirError(error, 'manifest_unknown')) return { status: 'unknown' };
  if (isWeirError(error, 'upstream_unauthorized', 'upstream_denied')) {
    const challenge = error.detail['challenge'];
    return { status: 'refused', challenge: typeof challenge === 'string' ? challenge : undefined };
  }
  if (isOffline(error)) return { status: 'unreachable' };
  throw error;
}
