/** Edits of the text of one configuration file: Weir's part is put in, and taken out again. Pure. */
import { problem } from '../../host/host-files.ts';

export interface Edit {
  /** The runtime's text with Weir's part, or `text` itself if it has the part already. @param text undefined: no such file */
  readonly add: (text: string | undefined) => string;
  /**
   * `text` without Weir's part; undefined if nothing else is in it and there was no file before.
   * @param original the text before Weir's part was put in
   */
  readonly remove: (text: string, original: string | undefined) => string | undefined;
}

/** A file cannot be edited; it has the line if that is known. */
export class EditError extends Error {
  readonly line: number | undefined;

  constructor(message: string, line?: number, cause?: unknown) {
    super(message, { cause });
    this.name = 'EditError';
    this.line = line;
  }
}

/** 1 for the first line. */
export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}

/** The end of lines in `text`. */
export function endOfLine(text: string): '\n' | '\r\n' {
  return /\r\n/.test(text) ? '\r\n' : '\n';
}

/**
 * Runs a function that reads or edits the text of `path`.
 * @throws WeirError `runtime_config` instead of an {@link EditError}: it names the file, and the line if that is known.
 *   The same if the stack ran out, as the libraries that read these files call themselves for each level
 */
export function editing<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof RangeError) throw problem(path, 'is nested too deeply; nothing was changed', error);
    if (!(error instanceof EditError)) throw error;
    const where = error.line === undefined ? path : `${path}:${error.line}`;
    throw problem(where, `${error.message}; nothing was changed`, error);
  }
}
