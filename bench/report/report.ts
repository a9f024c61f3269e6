/**
 * The report of `bench crowd`, `bench simulate` and `bench churn`, in the forms in which it is handed out:
 *
 *   report.json   all figures, in a form that is stable: fields are added, never renamed
 *   report.html   one page with the table and the charts; nothing is loaded from anywhere
 *   *.svg         the charts alone, for documents
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Machine } from '../support/machine.ts';
import type { Row } from '../support/table.ts';
import { chartsOf, type Chart } from './charts.ts';
import { renderPage } from './page.ts';
import type { BenchResult } from './result.ts';
import { failureLines, figureRows, ratioLines } from './table.ts';

/** What all reports tell besides their results. */
export interface ReportHead {
  readonly question: 'crowd' | 'simulate' | 'churn';
  /** ISO 8601. */
  readonly startedAt: string;
  readonly machine: Machine;
  /** What was asked for, by the name of the option. */
  readonly settings: Readonly<Record<string, SettingValue>>;
  /** Of the programs that were measured, by name. */
  readonly versions: Readonly<Record<string, string>>;
  /** What makes the figures doubtful, for people: the CPU was the bound, nothing was shaped, … */
  readonly warnings: readonly string[];
}

export interface BenchReport extends ReportHead {
  readonly results: readonly BenchResult[];
}

export type SettingValue = string | number | boolean | null | readonly (string | number)[];

/**
 * Writes the report in all forms.
 * @param details further figures for the page, as a table whose first row is its head
 * @returns the paths of what was written
 */
export async function writeReport(
  out: string,
  report: BenchReport,
  details: readonly Row[] = [],
): Promise<readonly string[]> {
  const { results } = report;
  const charts = chartsOf(results);
  const page = renderPage({
    head: report,
    tables: [
      { rows: figureRows(results) },
      ...(details.length > 0 ? [{ title: 'All figures', rows: details }] : []),
    ],
    notes: [...ratioLines(results), ...failureLines(results)],
    charts,
  });
  return writeFiles(out, report, page, charts);
}

/** @returns the paths of what was written */
export async function writeFiles(
  out: string,
  report: ReportHead,
  page: string,
  charts: readonly Chart[],
): Promise<readonly string[]> {
  const files: [name: string, text: string][] = [
    ['report.json', `${JSON.stringify(report, undefined, 2)}\n`],
    ['report.html', page],
    ...charts.map(({ name, svg }): [string, string] => [`${name}.svg`, svg]),
  ];
  await mkdir(out, { recursive: true });
  for (const [name, text] of files) await writeFile(join(out, name), text);
  return files.map(([name]) => join(out, name));
}
