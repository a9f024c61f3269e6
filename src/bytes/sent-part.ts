/** A part of a content that a byte worker sends: to a runtime, or to a member. */
import type { Content } from '../util/content.ts';
import { Progress } from '../util/progress.ts';

export interface SentPart {
  readonly content: Content;
  readonly start: number;
  readonly end: number;
  /** The generation of the content whose bytes may be sent. */
  readonly generation: number;
  /** All of the bytes are in the file, also those that its progress does not reach. */
  readonly isPresent: boolean;
}

/** @param presentIn the generation in which all of the bytes are in the file; undefined: they become readable in order */
export function sentPart(
  content: Content,
  start: number,
  end: number,
  presentIn: number | undefined,
): SentPart {
  const now = content.progress === undefined ? 0 : new Progress(content.progress).generation;
  return { content, start, end, generation: presentIn ?? now, isPresent: presentIn !== undefined };
}
