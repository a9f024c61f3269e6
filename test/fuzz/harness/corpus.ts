/** Inputs on the disk: those that are replayed first (`corpus/TARGET/`), and those that were found. */
import { hash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const CORPUS: string = join(import.meta.dirname, '../corpus');

/** Where inputs go that were found. */
export const FOUND = 'build/fuzz';

export interface Kept {
  readonly name: string;
  readonly input: Buffer;
}

/** What once went wrong at a target, or is a hard case; sorted by name. */
export function corpusOf(target: string): readonly Kept[] {
  const folder = join(CORPUS, target);
  try {
    return readdirSync(folder)
      .toSorted()
      .map((name) => ({ name, input: readFileSync(join(folder, name)) }));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

/** The targets that have a corpus. */
export function corpora(): readonly string[] {
  return readdirSync(CORPUS);
}

/** Writes an input that was found; it belongs into the corpus, under a name that tells what it is. @returns the file */
export function keepInput(folder: string, target: string, input: Uint8Array): string {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${target}-${hash('sha256', input, 'hex').slice(0, 12)}`);
  writeFileSync(file, input);
  return file;
}
