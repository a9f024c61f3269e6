/**
 * A part of a TOML file between two marking comments. Libraries that edit TOML write a new table inline and at another
 * place: old versions of containerd refuse that, and it changes the order of mirrors. A block of lines keeps every other
 * byte. Both texts are read each time to prove that nothing else has changed.
 */
import { isDeepStrictEqual } from 'node:util';
import { parse, TomlError, type TomlTable } from 'smol-toml';
import { BLOCK_MARK } from '../../host/drift.ts';
import { EditError, endOfLine } from './edit.ts';

const BEGIN = `${BLOCK_MARK}: written by "weir host configure", taken out by "weir host restore"`;
const END = '# weir end';
/** A block ends at the next mark: otherwise each mark without an end would be followed to the end of the file. */
const BLOCK = /^# weir begin(?::.*)?\r?\n(?:(?!# weir begin).*\r?\n)*?# weir end[^\n]*(?:\n|$)/gm;

/** Places to try before the end of the file: each try reads the whole file. */
const MAX_PLACES = 16;

export type { TomlTable };

/** @throws EditError with the line */
export function parseToml(text: string): TomlTable {
  try {
    return parse(text);
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    const [first = ''] = cause.message.split('\n');
    throw new EditError(
      `is not valid TOML (${first.replace(/^Invalid TOML document: /, '')})`,
      cause.line,
      cause,
    );
  }
}

export function hasBlock(text: string): boolean {
  return text.search(BLOCK) !== -1;
}

export function withoutBlock(text: string): string {
  return text.replace(BLOCK, '');
}

/** The text with the lines of a block, but without its marks. */
export function withoutMarks(text: string): string {
  return text.replaceAll(/^# weir (?:begin(?::.*)?|end.*)(?:\r?\n|$)/gm, '');
}

/** Takes a block out: the `remove` of an edit. */
export function removeBlock(text: string, original: string | undefined): string | undefined {
  const rest = withoutBlock(text);
  return original === undefined && rest.trim() === '' ? undefined : rest;
}

export function block(lines: readonly string[], eol: '\n' | '\r\n' = '\n'): string {
  return [BEGIN, ...lines, END, ''].join(eol);
}

/**
 * `text` with a block of `lines` in front of the first table whose header matches `before`; without such a table, at the
 * end.
 * @param isRight checks the result after reading it
 * @throws EditError if no place is right
 */
export function withBlock(
  text: string,
  lines: readonly string[],
  options: { readonly before: RegExp; readonly isRight: (after: TomlTable, before: TomlTable) => boolean },
): string {
  const before = parseToml(text);
  for (const place of places(text, options.before)) {
    const eol = endOfLine(text);
    const head = text.slice(0, place);
    const gap = head === '' || head.endsWith('\n') ? '' : eol;
    const after = head + gap + block(lines, eol) + text.slice(place);
    const read = tryParse(after);
    // The block must come out whole again: a text with marks of its own would lose lines.
    if (
      read !== undefined &&
      options.isRight(read, before) &&
      withoutBlock(after) === head + gap + text.slice(place)
    ) {
      return after;
    }
  }
  throw new EditError('is written in a way that Weir cannot add to; write tables as [host."URL"]');
}

export function isSame(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(a, b);
}

/** Starts of lines for a block, the best first; a match may be inside of a text of several lines. */
function places(text: string, before: RegExp): readonly number[] {
  const found: number[] = [];
  let offset = 0;
  let comments: number | undefined; // start of the comment above the present line
  for (const line of text.split(/(?<=\n)/)) {
    const isComment = /^\s*#/.test(line);
    if (before.test(line)) found.push(comments ?? offset);
    if (isComment) comments ??= offset;
    else comments = undefined;
    offset += line.length;
  }
  return [...found.slice(0, MAX_PLACES), text.length];
}

function tryParse(text: string): TomlTable | undefined {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}
