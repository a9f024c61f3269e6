/**
 * Tokens from registries' token servers (distribution spec, "Token Authentication Specification"; with a refresh
 * token, "OAuth2 Token Authentication").
 *
 * A token is kept per registry, realm, service, scope and credential until shortly before it expires. Concurrent
 * callers share one request, which outlives the caller that began it. The registry belongs to the key because a token
 * goes only to the registry that named the realm. Otherwise a registry could get tokens of another one's token server
 * by naming it.
 */
import { LRUCache } from 'lru-cache';
import * as v from 'valibot';
import { abortable } from '../util/async.ts';
import { KIB, SECOND, type Clock } from '../util/clock.ts';
import { isWeirError, WeirError } from '../util/errors.ts';
import { isOfThisNode, type Caller } from './caller.ts';
import { credentialKey, formatAuthorization, type StoredCredential } from './credential.ts';
import type { Response } from './response.ts';
import { abortError, throwIfAborted } from './failure.ts';
import type { Hop } from './redirect.ts';

/** For the repositories of one node times its credentials; a token is about 1 KiB. */
const MAX_TOKENS = 2000;
/** Bytes; tokens of some clouds are several KiB long. */
const MAX_TOKEN_ANSWER = 256 * KIB;
/** Lifetime in seconds if the server names none: the default of the specification. */
const DEFAULT_EXPIRY = 60;
/** Seconds. A token is kept no longer than this, so that a permission revoked at the registry ends here, too. */
const MAX_EXPIRY = 3600;
/** A token is renewed so many milliseconds before it expires: it must outlive the request that carries it. */
const RENEWAL_MARGIN = 10 * SECOND;
/** Milliseconds for which a token is young: many 404s in a row cost one token, not one each. */
const YOUNG = 1 * SECOND;
/** Milliseconds for one token request, whichever callers wait for it. */
const TOKEN_TIMEOUT = 15 * SECOND;
const CLIENT_ID = 'weir';

const answerSchema = v.object({
  token: v.nullish(v.string()),
  access_token: v.nullish(v.string()),
  expires_in: v.nullish(v.number()),
});

/** The token that a Bearer challenge asks for. */
export interface TokenRequest {
  readonly realm: string;
  readonly service: string | undefined;
  /** Separated by spaces. */
  readonly scope: string;
}

export interface IssuedToken {
  readonly token: string;
  /** Whether it was fetched for this call. */
  readonly isFresh: boolean;
  /** Whether it was fetched a moment ago: a refusal is hardly about the token. */
  readonly isYoung: boolean;
}

export interface TokenContext {
  /** Sends a request to the token server with the registry's TLS profile; follows redirects. */
  readonly send: (hop: Hop) => Promise<Response>;
  /** The registry's endpoint. */
  readonly from: URL;
  readonly caller: Caller;
  readonly signal?: AbortSignal | undefined;
}

interface Entry {
  readonly token: string;
  /** When it was asked for; {@link Clock.monotonic}. */
  readonly at: number;
  /** Time at which it must be renewed; {@link Clock.monotonic}. */
  readonly until: number;
}

export class TokenSource {
  readonly #clock: Clock;
  readonly #tokens = new LRUCache<string, Entry>({ max: MAX_TOKENS });
  readonly #running = new Map<string, Promise<string>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * A token for `request`.
   * @param rejected a token that the registry refused: it is not given again
   * @throws WeirError `upstream_unauthorized` if the token server refuses, `upstream_protocol`, and the errors of
   *   failed requests
   */
  async get(
    request: TokenRequest,
    credential: StoredCredential | undefined,
    context: TokenContext,
    rejected?: string,
  ): Promise<IssuedToken> {
    throwIfAborted(context.signal); // before beginning a request that nobody waits for
    const { realm, service = '', scope } = request;
    const asker = `${isOfThisNode(context.caller) ? 'here' : 'member'} ${context.from.origin}`;
    const key = [asker, realm, service, scope, credentialKey(credential)].join('\n');
    const known = this.#tokens.get(key);
    if (known !== undefined && known.token !== rejected && known.until > this.#clock.monotonic()) {
      return { token: known.token, isFresh: false, isYoung: this.#clock.monotonic() - known.at < YOUNG };
    }
    let running = this.#running.get(key);
    if (running === undefined) {
      running = this.#fetch(key, request, credential, context).finally(() => this.#running.delete(key));
      this.#running.set(key, running);
    }
    return { token: await abortable(running, context.signal, abortError), isFresh: true, isYoung: true };
  }

  async #fetch(
    key: string,
    request: TokenRequest,
    credential: StoredCredential | undefined,
    context: TokenContext,
  ): Promise<string> {
    const start = this.#clock.monotonic();
    const response = await context.send({
      ...tokenHop(request, credential),
      from: context.from,
      signal: AbortSignal.timeout(TOKEN_TIMEOUT),
    });
    const { token, seconds } = await readAnswer(response);
    const lifetime = Math.min(seconds, MAX_EXPIRY) * SECOND;
    const margin = Math.min(RENEWAL_MARGIN, lifetime / 5);
    this.#tokens.set(key, { token, at: start, until: start + lifetime - margin });
    return token;
  }
}

function tokenHop(request: TokenRequest, credential: StoredCredential | undefined): Hop {
  const url = URL.parse(request.realm);
  if (url === null) throw new WeirError('upstream_protocol', 'the realm of the token server is no URL');
  const scopes = request.scope.split(' ').filter((scope) => scope !== '');
  if (credential?.kind === 'identity') return refreshHop(url, request, credential.token);
  if (request.service !== undefined) url.searchParams.set('service', request.service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  return {
    url,
    method: 'GET',
    headers: credential === undefined ? {} : { authorization: formatAuthorization(credential) },
  };
}

function refreshHop(url: URL, request: TokenRequest, refreshToken: string): Hop {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    service: request.service ?? '',
    client_id: CLIENT_ID,
    scope: request.scope,
    refresh_token: refreshToken,
  });
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return { url, method: 'POST', headers, body: form.toString() };
}

async function readAnswer(response: Response): Promise<{ readonly token: string; readonly seconds: number }> {
  const { status, origin } = response;
  if (status !== 200) {
    response.discard();
    const detail = { status, token: 'refused' };
    if (status === 429)
      throw new WeirError('upstream_throttled', `${origin}: too many token requests`, { detail });
    if (status >= 500)
      throw new WeirError('upstream_status', `${origin}: status ${status} for a token`, { detail });
    throw new WeirError('upstream_unauthorized', `${origin}: no token is given (status ${status})`, {
      detail,
    });
  }
  const answer = parseAnswer(await response.read(MAX_TOKEN_ANSWER));
  const token = answer?.token || answer?.access_token;
  // It goes into a header, so it must be visible ASCII.
  if (!token || !/^[\x21-\x7e]+$/.test(token)) {
    throw new WeirError('upstream_protocol', `${origin}: the token server's answer holds no token`);
  }
  const expiry = answer?.expires_in ?? 0;
  return { token, seconds: expiry > 0 ? expiry : DEFAULT_EXPIRY };
}

function parseAnswer(bytes: Buffer): v.InferOutput<typeof answerSchema> | undefined {
  try {
    return v.parse(answerSchema, JSON.parse(bytes.toString('utf8')));
  } catch (error) {
    if (isWeirError(error)) throw error;
    return undefined;
  }
}
