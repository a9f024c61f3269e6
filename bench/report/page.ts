/** The report as one page: figures, charts, settings, machine. It loads nothing and runs nothing. Pure. */
import type { Row } from '../support/table.ts';
import type { Chart } from './charts.ts';
import type { ReportHead } from './report.ts';
import { STYLE } from './theme.ts';

const PAGE_STYLE = `
body{font:15px/1.5 DejaVu Sans,Verdana,sans-serif;color:var(--text);background:var(--back);max-width:1180px;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--faint);text-align:right}
th:first-child,td:first-child{text-align:left}
.facts td{text-align:left}
.warning{border-left:4px solid var(--b);padding-left:.8rem}
svg{max-width:100%;height:auto;margin:1rem 0}
`;

export interface Page {
  readonly head: ReportHead;
  /** The first stands above the charts, the others below. */
  readonly tables: readonly { readonly title?: string; readonly rows: readonly Row[] }[];
  readonly notes: readonly string[];
  readonly charts: readonly Chart[];
}

export function renderPage({ head, tables, notes, charts }: Page): string {
  const { question, startedAt, machine, settings, versions, warnings } = head;
  const { programs, ...facts } = machine;
  const [first, ...others] = tables.map(({ title, rows }) => {
    const heading = title === undefined ? '' : `<h2>${escape(title)}</h2>\n`;
    return `${heading}<div class="wide">${figureTable(rows)}</div>`;
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Weir: bench ${question}</title>
<style>${STYLE}${PAGE_STYLE}</style>
</head>
<body>
<h1>bench ${question}</h1>
<p>Begun ${escape(startedAt)}. Medians of the turns; report.json beside this page holds everything.</p>
${warnings.map((warning) => `<p class="warning">${escape(warning)}</p>`).join('\n')}
${first ?? ''}
${notes.length > 0 ? `<ul>${notes.map((note) => `<li>${escape(note)}</li>`).join('')}</ul>` : ''}
${charts.map(({ svg, title }) => figure(svg, title)).join('\n')}
${others.join('\n')}
<h2>Settings</h2>
${factTable(settings)}
<h2>Machine and versions</h2>
${factTable({ ...facts, ...programs, ...versions })}
</body>
</html>
`;
}

/** Styles stand once for the page: within it those of a chart would hold for all. */
function figure(svg: string, title: string): string {
  const bare = svg.replace(/<style>[^<]*<\/style>/, '');
  return `<figure>${bare.replace('<svg ', `<svg role="img" aria-label="${escape(title)}" `)}</figure>`;
}

function figureTable([head = [], ...rows]: readonly Row[]): string {
  const cells = (row: readonly string[], tag: 'th' | 'td'): string =>
    `<tr>${row.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join('')}</tr>`;
  return `<table><thead>${cells(head, 'th')}</thead><tbody>${rows.map((row) => cells(row, 'td')).join('')}</tbody></table>`;
}

function factTable(facts: Readonly<Record<string, unknown>>): string {
  const rows = Object.entries(facts).map(
    ([name, value]) => `<tr><td>${escape(name)}</td><td>${escape(textOf(value))}</td></tr>`,
  );
  return `<table class="facts">${rows.join('')}</table>`;
}

function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.map((each) => textOf(each)).join(', ');
  if (value === null || value === undefined) return '-';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
