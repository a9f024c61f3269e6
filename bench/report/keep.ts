/** Makes a kept result of a report.json: what tables show of it, small enough to be committed. Pure. */
import { isQuestion, parseKept } from './kept.ts';

/** Bytes. A clone carries every version of every kept result. */
const MAX_BYTES = 100_000;

type Json = Readonly<Record<string, unknown>>;

export interface KeepWish {
  /** What was measured. */
  readonly commit: string;
  /** Versions of programs that do not tell them. */
  readonly versions: Readonly<Record<string, string>>;
}

/**
 * @param name of the file without its ending, for errors
 * @returns the text of the file
 * @throws Error when the report lacks a field that a table shows, or is too large
 */
export function keepReport(report: Json, { commit, versions }: KeepWish, name: string): string {
  const { question, profile: _, ...rest } = report;
  if (!isQuestion(question)) throw new Error(`${name}: there is no table for question ${String(question)}`);
  const kept: Json = {
    question,
    commit,
    ...rest,
    ...(isRecord(rest['settings']) && { settings: withoutPaths(rest['settings']) }),
    ...(isRecord(rest['versions']) && { versions: { ...rest['versions'], ...versions } }),
    ...(Array.isArray(rest['results']) && {
      results: (rest['results'] as readonly Json[]).map((result) => trim(result, question === 'simulate')),
    }),
  };
  parseKept(kept, question, name);
  const text = `${JSON.stringify(kept, undefined, 1)}\n`;
  if (text.length <= MAX_BYTES) return text;
  throw new Error(`${name}: ${text.length} bytes, more than ${MAX_BYTES}: fewer turns or nodes`);
}

/** Paths of programs say where somebody has them, and nothing of the result. */
function withoutPaths(settings: Json): Json {
  return Object.fromEntries(Object.entries(settings).filter(([name]) => !/-bin(?:-dir)?$/.test(name)));
}

/** Without curves; of thousands of simulated nodes none is told by itself. */
function trim(result: Json, isSimulated: boolean): Json {
  return {
    ...result,
    ...('registry_curve' in result && { registry_curve: [] }),
    ...(isSimulated && { per_node: [] }),
    ...(isRecord(result['series']) && { series: threeOfEach(result['series']) }),
  };
}

/** The first, the middle and the last sample. */
function threeOfEach(series: Json): Json {
  return Object.fromEntries(
    Object.entries(series).map(([name, samples]) => {
      if (!Array.isArray(samples)) return [name, samples];
      return [name, [samples[0], samples[samples.length >> 1], samples.at(-1)] as unknown];
    }),
  );
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
