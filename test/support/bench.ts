/** Runs one question of the bench as an operator does. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { MINUTE } from '../../src/util/clock.ts';
import type { BenchReport } from '../../bench/report/report.ts';
import { describeResult, run } from './program.ts';

export const BENCH: string = fileURLToPath(new URL('../../bench/main.ts', import.meta.url));
const TIMEOUT = 4 * MINUTE;

/** @returns the report that it wrote to `out`, and its output; its exit code is 1 if a pull failed, else 0 */
export async function bench(
  question: string,
  options: readonly string[],
  out: string,
): Promise<{ readonly report: BenchReport; readonly stdout: string }> {
  const args = [BENCH, question, ...options, '--out', out];
  const result = await run(process.execPath, args, { timeout: TIMEOUT });
  const report = JSON.parse(await readFile(`${out}/report.json`, 'utf8')) as BenchReport;
  const hasFailures = report.results.some(({ failures }) => failures > 0);
  assert.equal(result.code, hasFailures ? 1 : 0, describeResult(`bench ${question}`, result));
  return { report, stdout: result.stdout };
}
