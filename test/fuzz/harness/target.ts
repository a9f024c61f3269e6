/** A fuzz target: a function of `src/` that reads bytes chosen by a stranger. */
import type * as fc from 'fast-check';
import { isWeirError, type ErrorCode } from '../../../src/util/errors.ts';
import type { Chance } from './chance.ts';

/** @throws any error that is a finding; it catches the refusals that it allows */
export type Run = (input: Buffer, chance: Chance) => void | Promise<void>;

export interface Target {
  readonly name: string;
  /** Its share of 1,000 inputs: less if an input takes long. */
  readonly share: number;
  /** Real inputs to mutate, besides those in `corpus/`. */
  readonly seeds: readonly (string | Uint8Array)[];
  /** Words with a meaning to the reader, which mutation inserts. */
  readonly words?: readonly string[];
  /** Makes further valid inputs. */
  readonly structured?: fc.Arbitrary<Uint8Array>;
  /** Milliseconds that one input may take; default {@link DEFAULT_LIMIT}. */
  readonly limit?: number;
  /** Whether the same input always does the same: otherwise time and coverage cannot be told per input. */
  readonly isPure: boolean;
  /** Resources that it needs go onto the stack. */
  readonly open: (stack: AsyncDisposableStack) => Run | Promise<Run>;
}

/** Milliseconds of CPU for an input of at most 64 KiB: slower code is quadratic. */
export const DEFAULT_LIMIT = 200;

type PureTarget = Pick<Target, 'name' | 'seeds'> & Partial<Target> & { readonly run: Run };

/** A target without state. */
export function pure({ run, ...rest }: PureTarget): Target {
  return { share: 30, isPure: true, open: () => run, ...rest };
}

/** The result of `work`; undefined if it refuses the input with one of the codes. */
export function unlessRefused<T>(codes: readonly ErrorCode[], work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (isWeirError(error, ...codes)) return undefined;
    throw error;
  }
}

/** The same for a promise. */
export async function settledUnlessRefused<T>(
  codes: readonly ErrorCode[],
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (isWeirError(error, ...codes)) return undefined;
    throw error;
  }
}

/** The first line of an input and the rest: for readers of several values. */
export function splitLine(input: Buffer): readonly [first: string, rest: Buffer] {
  const end = input.indexOf('\n');
  if (end === -1) return [input.toString('latin1'), Buffer.alloc(0)];
  return [input.toString('latin1', 0, end), input.subarray(end + 1)];
}
