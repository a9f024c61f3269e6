/** The token that a request must have to change something through the admin address. */
import { open } from 'node:fs/promises';
import { errorMessage, WeirError } from '../util/errors.ts';
import { isSameSecret } from '../util/secret.ts';
import { MAX_KEY_BYTES, weaknessOf } from './cluster-settings.ts';

const MAKE_TOKEN = 'make one with: (umask 077; openssl rand -base64 32 > admin.token)';
const BEARER = /^Bearer +([\x21-\x7e]+)$/i;

/**
 * Reads it anew each time, so that a new token holds without a restart.
 * @returns undefined if none is set
 * @throws WeirError `config_invalid` if it cannot be read, or could be guessed; the message has nothing of the token
 */
export async function readAdminToken(path: string): Promise<string | undefined> {
  if (path === '') return undefined;
  let text: string;
  try {
    await using file = await open(path, 'r');
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_KEY_BYTES + 2), 0); // it may end with a line break
    text = buffer.toString('latin1', 0, bytesRead).trim();
  } catch (cause) {
    throw new WeirError('config_invalid', `cannot read admin.token-file: ${errorMessage(cause)}`, { cause });
  }
  const problem = /^[\x21-\x7e]*$/.test(text) ? weaknessOf(text) : 'has other characters than visible ASCII';
  if (problem === undefined) return text;
  throw new WeirError('config_invalid', `the token in ${path} ${problem}; ${MAKE_TOKEN}`);
}

/** Whether a header `Authorization` has the token. It takes as long for any other one. */
export function bearsToken(authorization: string | undefined, token: string): boolean {
  const [, given] = BEARER.exec(authorization ?? '') ?? [];
  return given !== undefined && isSameSecret(given, token);
}
