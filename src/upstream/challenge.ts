/**
 * The WWW-Authenticate header (RFC 9110, section 11.6.1). One value holds several challenges; each is a scheme with
 * one token68 or with parameters, whose values are tokens or quoted strings.
 */
import { KIB } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';

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
/** RFC 9110, section 5.6.1: a recipient accepts empty list elements. */
const COMMAS = /[ \t]*(?:,[ \t]*)+/y;

/** @throws WeirError `upstream_protocol` if the header does not follow the grammar or exceeds the bounds */
export function parseChallenges(header: string): readonly Challenge[] {
  if (header.length > MAX_HEADER_LENGTH) throw malformed('longer than 8 KiB');
  const text = header.trim();
  const scanner = new Scanner(text);
  const challenges: Challenge[] = [];
  scanner.take(COMMAS);
  while (!scanner.atEnd()) {
    if (challenges.length === MAX_CHALLENGES) throw malformed('too many challenges');
    challenges.push(parseChallenge(scanner));
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

function parseChallenge(scanner: Scanner): Challenge {
  const scheme = scanner.take(TOKEN)?.[0].toLowerCase();
  if (scheme === undefined) throw malformed('a scheme is missing');
  const parameters = new Map<string, string>();
  if (scanner.take(SPACES) === undefined) {
    endOfChallenge(scanner);
    return { scheme, parameters };
  }
  const token68 = scanner.take(TOKEN68)?.[0];
  if (token68 !== undefined) {
    endOfChallenge(scanner);
    return { scheme, token68, parameters };
  }
  for (let count = 0; ; count++) {
    const parameter = parseParameter(scanner);
    if (parameter === undefined) break; // the next challenge, or the end
    if (count === MAX_PARAMETERS) throw malformed('too many parameters');
    if (!parameters.has(parameter.name)) parameters.set(parameter.name, parameter.value);
    endOfChallenge(scanner);
  }
  return { scheme, parameters };
}

/** A comma, or the end. */
function endOfChallenge(scanner: Scanner): void {
  if (!scanner.atEnd() && scanner.take(COMMAS) === undefined) throw malformed('a comma is missing');
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
  const value = scanner.take(TOKEN)?.[0];
  if (value === undefined) throw malformed('a value is missing');
  return { name, value };
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

function malformed(problem: string): WeirError {
  return new WeirError('upstream_protocol', `malformed WWW-Authenticate header: ${problem}`);
}
