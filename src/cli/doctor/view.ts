/** Draws the doctor's report as lines for people. Pure. */
import { paint, printable, type Tone } from '../client/terminal.ts';
import type { CheckState } from './check.ts';
import type { DoctorReport, NamedFinding } from './doctor.ts';

/** States differ by shape too, as not all readers see colours, and not all outputs have them. */
const MARKS: Readonly<Record<CheckState, { readonly glyph: string; readonly tone: Tone }>> = {
  ok: { glyph: '✔', tone: 'green' },
  warning: { glyph: '!', tone: 'yellow' },
  wrong: { glyph: '✘', tone: 'red' },
  skipped: { glyph: '–', tone: 'dim' },
};

const MIN_NAME_COLUMNS = 13;
/** A long registry's name must not push the text off the screen. */
const MAX_NAME_COLUMNS = 32;
/** Below it, words stand one below the other. */
const MIN_TEXT_COLUMNS = 24;

export interface DoctorViewOptions {
  /** Undefined: no limit, for a pipe. */
  readonly columns: number | undefined;
  readonly color: boolean;
}

export function renderDoctor(
  { checks, counts }: DoctorReport,
  options: DoctorViewOptions,
): readonly string[] {
  const longest = Math.max(MIN_NAME_COLUMNS, ...checks.map(({ name }) => name.length));
  const width = Math.min(MAX_NAME_COLUMNS, longest) + 2;
  const parts = [
    [counts.wrong, 'wrong'],
    [counts.warning, counts.warning === 1 ? 'warning' : 'warnings'],
    [counts.ok, 'right'],
    [counts.skipped, 'skipped'],
  ] as const;
  const summary = parts.filter(([number]) => number > 0).map(([number, what]) => `${number} ${what}`);
  const tone = counts.wrong > 0 ? 'red' : counts.warning > 0 ? 'yellow' : 'green';
  const told = counts.wrong > 0 ? summary.join(', ') : `nothing is wrong: ${summary.join(', ')}`;
  return [
    ...checks.flatMap((check) => linesOf(check, width, options)),
    '',
    options.color ? paint(tone, told) : told,
  ];
}

function linesOf(
  { name, state, found, cure }: NamedFinding,
  width: number,
  { columns, color }: DoctorViewOptions,
): readonly string[] {
  const tone = (style: Tone, text: string): string => (color ? paint(style, text) : text);
  const { glyph, tone: style } = MARKS[state];
  const indent = ' '.repeat(width + 2);
  const room = columns === undefined ? undefined : Math.max(MIN_TEXT_COLUMNS, columns - indent.length);
  const [first = '', ...rest] = wrap(printable(found), room);
  const isQuiet = state === 'skipped';
  const text = (line: string): string => (isQuiet ? tone('dim', line) : line);
  const cured = cure === undefined ? [] : wrap(printable(cure), room === undefined ? room : room - 2);
  return [
    `${tone(style, glyph)} ${tone('bold', name.padEnd(width))}${text(first)}`,
    ...rest.map((line) => indent + text(line)),
    ...cured.map((line, index) => `${indent}${tone('cyan', `${index === 0 ? '→' : ' '} ${line}`)}`),
  ];
}

/** Lines of whole words; a word that is too long has a line of its own. */
function wrap(text: string, width: number | undefined): readonly string[] {
  if (width === undefined) return [text];
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
