/** Credentials as HTTP carries them: the Authorization header (RFC 9110 11.6.2; RFC 7617; RFC 6750). */
import { isUtf8 } from 'node:buffer';
import { hash } from 'node:crypto';
import { KIB } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';

export type Credential =
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  | { readonly kind: 'bearer'; readonly token: string };

/** Credentials that a docker config may hold: also an OAuth2 refresh token for the registry's token server. */
export type StoredCredential = Credential | { readonly kind: 'identity'; readonly token: string };

/** Bytes; node:http accepts 16 KiB of headers in all, so nothing longer arrives in practice. */
const MAX_AUTHORIZATION_LENGTH = 16 * KIB;

const AUTHORIZATION = /^(basic|bearer) +([A-Za-z0-9._~+/-]+=*)$/i;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

/**
 * Reads an Authorization header; a missing one is `undefined`.
 * @throws WeirError `bad_request` for another scheme or a malformed value: going on without it would answer the
 *   caller as somebody else
 */
export function parseAuthorization(header: string | undefined): Credential | undefined {
  if (header === undefined) return undefined;
  const match = header.length > MAX_AUTHORIZATION_LENGTH ? null : AUTHORIZATION.exec(header.trim());
  const [, scheme = '', value = ''] = match ?? [];
  if (scheme.toLowerCase() === 'bearer') return { kind: 'bearer', token: value };
  const basic = scheme === '' ? undefined : parseBasic(value);
  if (basic === undefined) {
    throw new WeirError(
      'bad_request',
      'the Authorization header is malformed (allowed: Basic in UTF-8, Bearer)',
    );
  }
  return basic;
}

export function formatAuthorization(credential: Credential): string {
  if (credential.kind === 'bearer') return `Bearer ${credential.token}`;
  return `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`;
}

/** The value after `Basic`, also of `auth` in a docker config: base64 of `name:password`. */
export function parseBasic(value: string): Credential | undefined {
  if (!BASE64.test(value)) return undefined;
  const bytes = Buffer.from(value, 'base64');
  if (!isUtf8(bytes)) return undefined; // as text it would be another password
  const text = bytes.toString('utf8');
  const colon = text.indexOf(':');
  // RFC 7617 2 allows no control characters; they would also break the header built from it.
  if (colon === -1 || hasControls(text)) return undefined;
  return { kind: 'basic', username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** A cache key for a credential that does not contain it. */
export function credentialKey(credential: StoredCredential | undefined): string {
  if (credential === undefined) return 'anonymous';
  const text = credential.kind === 'identity' ? credential.token : formatAuthorization(credential);
  return `${credential.kind}:${hash('sha256', text, 'hex')}`;
}

function hasControls(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code === 0x7f) return true;
  }
  return false;
}
