/** What a registry's challenge says of how a repository is asked. */
import type { RepositoryName } from '../oci/repository.ts';
import { parseChallenges, type Challenge } from './challenge.ts';
import type { ResponseHead } from './response.ts';
import type { TokenRequest } from './token.ts';

/** Challenges that may be relayed in a header. */
const PRINTABLE = /^[\t\x20-\x7e]{1,8192}$/;

/** What was learned from a repository's challenge. */
export interface Learned {
  /** The header to relay: the last one without an `error`. */
  readonly raw: string | undefined;
  readonly bearer: TokenRequest | undefined;
  readonly isBasic: boolean;
  /** `error` of RFC 6750, section 3.1. */
  readonly error: string | undefined;
}

export const NOTHING_LEARNED: Learned = {
  raw: undefined,
  bearer: undefined,
  isBasic: false,
  error: undefined,
};

/** @param before what was learned from an earlier answer */
export function learn(response: ResponseHead, name: RepositoryName, before: Learned | undefined): Learned {
  const firstRaw = before?.raw;
  const header = response.header('www-authenticate');
  // A refusal without a challenge says nothing new.
  if (header === undefined && before !== undefined) return { ...before, error: undefined };
  const challenges = header === undefined ? [] : parseChallenges(header);
  const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
  const error = bearer?.parameters.get('error');
  const raw = header !== undefined && PRINTABLE.test(header) ? header : undefined;
  return {
    // An `error` is about our token: to a caller that sent none, it would say that its own was refused.
    raw: error === undefined ? (raw ?? firstRaw) : (firstRaw ?? raw),
    bearer: bearer && tokenRequest(bearer, name),
    isBasic: challenges.some(({ scheme }) => scheme === 'basic'),
    error,
  };
}

function tokenRequest(challenge: Challenge, name: RepositoryName): TokenRequest | undefined {
  const realm = challenge.parameters.get('realm');
  if (realm === undefined) return undefined;
  const scope = challenge.parameters.get('scope') || `repository:${name}:pull`; // an empty one is none
  return { realm, service: challenge.parameters.get('service'), scope };
}
