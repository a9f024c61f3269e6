/** The last pulls that ended, in memory, and the questions about them. */
import { MAX_PULLS, type PullReport } from '../status/pull-report.ts';

/** Blobs of all remembered pulls: about 5 MiB. A pull of many blobs pushes out several older ones. */
const MAX_BLOBS = 10_000;
/** Pulls in one answer if the question does not say. */
const DEFAULT_LIMIT = 50;
/** Characters of a pattern: an image's name has at most 640. */
const MAX_PATTERN = 1_024;
/** Seconds: a day. */
const MAX_SLOW = 86_400;

export interface PullsQuery {
  /** Pulls that took so many seconds at least. */
  readonly slow: number;
  /** A part of the image's name, in which `*` stands for any characters; undefined: all. */
  readonly image: string | undefined;
  readonly limit: number;
}

export class PullRing {
  /** The oldest first. */
  #pulls: PullReport[] = [];
  #blobs = 0;

  /** The latest first. */
  get all(): readonly PullReport[] {
    return this.#pulls.toReversed();
  }

  add(pull: PullReport): void {
    this.#pulls.push(pull);
    this.#blobs += pull.blobs.length;
    while (this.#pulls.length > MAX_PULLS || (this.#blobs > MAX_BLOBS && this.#pulls.length > 1)) {
      this.#blobs -= this.#pulls.shift()?.blobs.length ?? 0;
    }
  }
}

/** Those that the question is for, in their order. */
export function filterPulls(
  pulls: readonly PullReport[],
  { slow, image, limit }: PullsQuery,
): readonly PullReport[] {
  const found: PullReport[] = [];
  for (const pull of pulls) {
    if (found.length >= limit) break;
    if (pull.seconds >= slow && (image === undefined || matchesPattern(pull.image, image))) found.push(pull);
  }
  return found;
}

/** The query of `GET /v1/pulls`; a text if it is none: it says what is wrong. */
export function parsePullsQuery(parameters: URLSearchParams): PullsQuery | string {
  for (const name of new Set(parameters.keys())) {
    if (!['slow', 'image', 'limit'].includes(name))
      return `there is no parameter ${JSON.stringify(name.slice(0, 80))}`;
    if (parameters.getAll(name).length > 1) return `${name} is given twice`;
  }
  const slow = parameters.get('slow') ?? '0';
  if (!/^\d{1,6}(?:\.\d{1,3})?$/.test(slow) || Number(slow) > MAX_SLOW) {
    return `slow is a number of seconds, at most ${MAX_SLOW}`;
  }
  const limit = parameters.get('limit') ?? String(DEFAULT_LIMIT);
  if (!/^[1-9]\d{0,3}$/.test(limit) || Number(limit) > MAX_PULLS) {
    return `limit is a number from 1 to ${MAX_PULLS}`;
  }
  const image = parameters.get('image') ?? undefined;
  if (image !== undefined && (image === '' || image.length > MAX_PATTERN)) {
    return `image has 1 to ${MAX_PATTERN} characters`;
  }
  return { slow: Number(slow), image, limit: Number(limit) };
}

/**
 * Whether `pattern` is a part of `text`; its `*` stand for any characters. The parts between them are searched one after the
 * other: a regular expression could be made to take for ever.
 */
export function matchesPattern(text: string, pattern: string): boolean {
  let at = 0;
  for (const part of pattern.split('*')) {
    const found = text.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return true;
}
