/**
 * Sizes and durations as people write them: `20GiB`, `100kB`, `4096`; `10s`, `5m`, `24h`.
 *
 * Ambiguous values are refused with an explanation, never guessed: `20G` is 20·1000³ to Kubernetes and 20·1024³ to
 * Docker, and a bare `10` may be seconds or milliseconds.
 */
import ms from 'ms';
import { DAY, HOUR, MINUTE, SECOND } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';

/** Characters; no value that people write is longer, and `ms` throws at 100. */
const MAX_TEXT_LENGTH = 40;

const SIZE = /^(\d+(?:\.\d+)?) *([a-z]*)$/i;

/** Bytes per unit. Names are in lower case, as case does not matter (`20gib`, `100KB`). */
const SIZE_UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['b', 1],
  ...['k', 'm', 'g', 't'].flatMap((prefix, index): [string, number][] => [
    [`${prefix}b`, 1000 ** (index + 1)],
    [`${prefix}ib`, 1024 ** (index + 1)],
    [`${prefix}i`, 1024 ** (index + 1)], // as Kubernetes writes it
  ]),
]);

/** Units in which a size is written; of two results of equal length the first counts. */
const WRITTEN_SIZES: readonly (readonly [string, number])[] = [
  ['TiB', 1024 ** 4],
  ['GiB', 1024 ** 3],
  ['MiB', 1024 ** 2],
  ['KiB', 1024],
  ['TB', 1000 ** 4],
  ['GB', 1000 ** 3],
  ['MB', 1000 ** 2],
  ['kB', 1000],
  ['B', 1],
];

const WRITTEN_DURATIONS: readonly (readonly [string, number])[] = [
  ['d', DAY],
  ['h', HOUR],
  ['m', MINUTE],
  ['s', SECOND],
  ['ms', 1],
];

const refuse = (problem: string): WeirError => new WeirError('config_invalid', problem);

/**
 * The number of bytes; a fraction of a byte is rounded.
 * @throws WeirError `config_invalid`
 */
export function parseSize(text: string): number {
  const trimmed = text.trim();
  if (trimmed.startsWith('-')) throw refuse('is negative');
  const match = trimmed.length > MAX_TEXT_LENGTH ? null : SIZE.exec(trimmed);
  if (match === null) throw refuse('is no size');
  const [, number = '', unit = ''] = match;
  const factor = SIZE_UNITS.get(unit.toLowerCase());
  if (factor === undefined) {
    const letter = /^[kmgt]$/i.test(unit) ? unit.toUpperCase() : undefined;
    if (letter === undefined) throw refuse(`has the unknown unit "${unit}"`);
    throw refuse(`is ambiguous: write ${letter}B for powers of 1000 or ${letter}iB for powers of 1024`);
  }
  const bytes = Math.round(Number(number) * factor);
  if (!Number.isSafeInteger(bytes)) throw refuse('is too large a size');
  return bytes;
}

/** `bytes` in the unit that writes it shortest without loss: `20GiB`, `100kB`, `12345B`. */
export function formatSize(bytes: number): string {
  let best = `${bytes}B`;
  for (const [unit, factor] of WRITTEN_SIZES) {
    const text = `${bytes / factor}${unit}`;
    if (bytes > 0 && bytes % factor === 0 && text.length < best.length) best = text;
  }
  return best;
}

/**
 * The number of milliseconds; a fraction of a millisecond is rounded.
 * @throws WeirError `config_invalid`
 */
export function parseDuration(text: string): number {
  const trimmed = text.trim();
  if (trimmed.startsWith('-')) throw refuse('is negative');
  if (/^[\d.]+$/.test(trimmed)) throw refuse(`has no unit: write ${trimmed}s or ${trimmed}ms`);
  if (/^(?:[\d.]+[a-z]+){2,}$/i.test(trimmed))
    throw refuse('has two units: write one, such as 90m for 1h30m');
  const known = trimmed !== '' && trimmed.length <= MAX_TEXT_LENGTH;
  const duration = known ? ms(trimmed as ms.StringValue) : undefined;
  if (duration === undefined || !Number.isFinite(duration)) throw refuse('is no duration');
  return Math.round(duration);
}

/** `duration` (milliseconds) in the largest unit that writes it without loss: 86400000 is `24h`, 1500 is `1500ms`. */
export function formatDuration(duration: number): string {
  if (duration === 0) return '0s';
  for (const [unit, factor] of WRITTEN_DURATIONS) {
    // Up to two days in hours: `24h` reads better than `1d` in a table beside `10m`.
    if (unit === 'd' && duration < 2 * DAY) continue;
    if (duration % factor === 0) return `${duration / factor}${unit}`;
  }
  return `${duration}ms`;
}
