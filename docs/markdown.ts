/** Tables in Markdown. */

/** @param align `figures`: all columns but the first stand right */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  align: 'text' | 'figures' = 'text',
): string {
  const rule = head.map((_, column) => (align === 'figures' && column > 0 ? '---:' : '---'));
  return [tableLine(head), tableLine(rule), ...rows.map(tableLine)].join('\n');
}

function tableLine(cells: readonly string[]): string {
  return `| ${cells.map(escapeCell).join(' | ')} |`;
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
}
