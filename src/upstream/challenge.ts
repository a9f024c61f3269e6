/**
 * The WWW-Authenticate header (RFC 9110, section 11.6.1). One value holds several challenges; each is a scheme with
 * one token68 or with parameters, whose values are tokens or quoted strings.
 *
 * Registries write much else, which other clients read: values with slashes and colons that are not quoted, blanks or
 * semicolons in place of commas. What can be read is read, and the rest is passed over.
 */
import { KIB } from '../util/clock.ts';

export interface Challenge {
  /** Lower case. */
  readonly scheme: string;
  readonly token68?: string | undefined;
  /** Names in lower case; if a name is given twice, the first counts. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** Characters; real challenges have fewer than 500. */
const MAX_HEADER_LENGTH = 8 * KIB;
const MAX_CHALLENGES = 8;
const MAX_PARAMETERS = 16;

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const TOKEN68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/sy;
const EQUALS = /[ \t]*=[ \t]*/y;
const SPACES = /[ \t]+/y;
/** A value that is not quoted, as far as it goes. */
const BARE = /[^\s,;"]+/y;
/** RFC 9110, section 5.6.1: a recipient accepts empty list elements. */
const SEPARATORS = /[\s,;]+/y;
/** Up to where something can begin again. */
const JUNK = /[^\s,;]+/y;

/** The challenges in `header`, the first of each kind of them that can be read; none of a header of more than 8 KiB. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: Challenge[] = [];
  if (header.length > MAX_HEADER_LENGTH) return challenges;
  const scanner = new Scanner(header);
  scanner.take(SEPARATORS);
  while (!scanner.atEnd() && challenges.length < MAX_CHALLENGES) {
    const challenge = parseChallenge(scanner);
    if (challenge === undefined) scanner.take(JUNK);
    else challenges.push(challenge);
    scanner.take(SEPARATORS);
  }
  return challenges;
}

/** Writes `challenges` as a header; {@link parseChallenges} reads the same back. */
export function formatChallenges(challenges: readonly Challenge[]): string {
  return challenges
    .map(({ scheme, token68, parameters }) => {
      const values = [...parameters].map(
        ([name, value]) => `${name}="${value.replaceAll(/["\\]/g, '\\$&')}"`,
      );
      return [scheme, token68 ?? values.join(',')].filter((part) => part !== '').join(' ');
    })
    .join(', ');
}

function parseChallenge(scanner: Scanner): Challenge | undefined {
  const scheme = scanner.take(TOKEN)?.[0].toLowerCase();
  if (scheme === undefined) return undefined;
  const parameters = new Map<string, string>();
  if (scanner.take(SPACES) === undefined) return { scheme, parameters };
  const token68 = scanner.take(TOKEN68)?.[0];
  if (token68 !== undefined) return { scheme, token68, parameters };
  while (parameters.size < MAX_PARAMETERS) {
    const parameter = parseParameter(scanner);
    if (parameter === undefined) break; // the next challenge, or the end
    if (!parameters.has(parameter.name)) parameters.set(parameter.name, parameter.value);
    scanner.take(SEPARATORS);
  }
  return { scheme, parameters };
}

function parseParameter(scanner: Scanner): { readonly name: string; readonly value: string } | undefined {
  const start = scanner.position;
  const name = scanner.take(TOKEN)?.[0].toLowerCase();
  if (name === undefined || scanner.take(EQUALS) === undefined) {
    scanner.position = start;
    return undefined;
  }
  const quoted = scanner.take(QUOTED);
  if (quoted !== undefined) return { name, value: (quoted[1] ?? '').replaceAll(/\\(.)/gs, '$1') };
  return { name, value: scanner.take(BARE)?.[0] ?? '' };
}

class Scanner {
  position = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  atEnd(): boolean {
    return this.position >= this.#text.length;
  }

  /** Matches the sticky `pattern` here, and moves the position past the match. */
  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.position;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.position = pattern.lastIndex;
    return match;
  }
}
