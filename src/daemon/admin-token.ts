/**
 * The token of the admin address for requests that change something. The address has no accounts, and every user and every
 * web page of this machine reaches it. Who can read the data folder may change its node; a page knows no file.
 */
import { randomBytes } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { errorMessage, systemCode } from '../util/errors.ts';
import { isSameSecret } from '../util/secret.ts';

/** Only the node's user, and root, may read it. */
const MODE = 0o600;
/** 256 bits, in base64url. */
const BYTES = 32;
const TOKEN = /^[A-Za-z0-9_-]{43}$/;
const BEARER = /^Bearer +([A-Za-z0-9_-]{43})$/i;

export class AdminToken {
  /** Undefined: nobody has it. */
  readonly #token: string | undefined;

  constructor(token: string | undefined) {
    this.#token = token;
  }

  /**
   * Reads the token at `path`, or makes one. Never rejects: without a token the node runs, and nothing can be changed.
   * @param onProblem told why there is none
   */
  static async load(path: string, onProblem: (message: string) => void): Promise<AdminToken> {
    try {
      const known = await readToken(path);
      if (known !== undefined) return new AdminToken(known);
      const token = randomBytes(BYTES).toString('base64url');
      // The file is renamed into place: half a token must not be left.
      await writeFile(`${path}.new`, `${token}\n`, { mode: MODE });
      await rename(`${path}.new`, path);
      return new AdminToken(token);
    } catch (error) {
      onProblem(`the admin token ${path} cannot be used: ${errorMessage(error)}`);
      return new AdminToken(undefined);
    }
  }

  /** @param authorization the header */
  isGivenBy(authorization: string | undefined): boolean {
    const [, given] = BEARER.exec(authorization ?? '') ?? [];
    if (given === undefined || this.#token === undefined) return false;
    return isSameSecret(given, this.#token);
  }
}

/** Undefined if there is none, or if it is no token. */
async function readToken(path: string): Promise<string | undefined> {
  try {
    const text = (await readFile(path, 'utf8')).trim();
    return TOKEN.test(text) ? text : undefined;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
