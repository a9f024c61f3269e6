/** Inputs on disk: those replayed first (`corpus/TARGET/`), and failed ones. */
import { hash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const CORPUS: string = join(import.meta.dirname, '../corpus');

/** Folder for failed inputs. */
export const FOUND = 'build/fuzz';

export interface Kept {
  readonly name: string;
  readonly input: Buffer;
}

/** Inputs that once failed at a target, and hard cases; sorted by name. */
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

/**
 * Writes a failed input. After the fix it belongs into the corpus, under a name that describes it. @returns the file
 */
export function keepInput(folder: string, target: string, input: Uint8Array): string {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${target}-${hash('sha256', input, 'hex').slice(0, 12)}`);
  writeFileSync(file, input);
  return file;
}
