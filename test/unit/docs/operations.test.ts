/** docs/operations.md names log lines, metrics, settings, values and error codes: each must exist under that name. */
import assert from 'node:assert/strict';
import { glob, readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import { SETTING_KEYS } from '../../../src/config/settings.ts';
import { ERROR_CODES } from '../../../src/util/errors.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
/** Marks a variable part of a log line, in the page and in a template of the code. */
const GAP = '…';
const TEMPLATE_GAP = /\$\{[^{}]*\}/g;
/** Calls of the node's own logger, with their text. */
const WARNINGS = /logger\.(?:warn|error)\([^;]*?(?:'([^'\n]+)'|"([^"\n]+)")\)/g;

const read = async (path: string): Promise<string> => readFile(join(ROOT, path), 'utf8');

async function sources(): Promise<string> {
  const texts: string[] = [];
  for await (const path of glob('src/**/*.ts', { cwd: ROOT })) texts.push(await read(path));
  return texts.join('\n');
}

/** The texts between code marks. */
const codes = (text: string): readonly string[] =>
  [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);

/** The first cells of the table behind a marking comment. */
function firstCells(page: string, mark: string): readonly string[] {
  const [, behind] = page.split(`<!-- checked: ${mark} -->`);
  assert.ok(behind !== undefined, mark);
  const rows =
    behind
      .trimStart()
      .split(/\n(?!\|)/)[0]
      ?.split('\n')
      .slice(2) ?? [];
  return rows.flatMap((row) => codes(row.split('|')[1] ?? ''));
}

/** All values of the chart, as `a.b.c`, sections too. */
function valuePaths(value: unknown, prefix = ''): readonly string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) =>
    [prefix + key].concat(valuePaths(each, `${prefix}${key}.`)),
  );
}

describe('docs/operations.md', () => {
  it('names only log lines that the code writes', async () => {
    const code = (await sources()).replaceAll(TEMPLATE_GAP, GAP);
    const page = await read('docs/operations.md');
    const lines = [...firstCells(page, 'log lines'), ...firstCells(page, 'said by itself')];
    assert.ok(lines.length >= 20, `${lines.length} lines`);
    for (const line of lines) {
      const quoted = [`'${line}`, `"${line}`, `\`${line}`, `${line}\``].some((text) => code.includes(text));
      assert.ok(quoted, `no such line in src: ${line}`);
    }
  });

  it('names each warning and error that the node itself logs', async () => {
    const lines = firstCells(await read('docs/operations.md'), 'log lines');
    const warnings = [...(await sources()).matchAll(WARNINGS)].map(([, one, other = '']) => one ?? other);
    assert.ok(warnings.length >= 5, `${warnings.length} warnings`);
    for (const text of warnings) assert.ok(lines.includes(text), `not in the page: ${text}`);
  });

  it('names only metrics that exist', async () => {
    const known = new Set((await read('docs/metrics.md')).match(/weir_[a-z_]+/g));
    const named = new Set((await read('docs/operations.md')).match(/weir_[a-z_]+/g));
    assert.ok(named.size >= 8, `${named.size} metrics`);
    for (const name of named) assert.ok(known.has(name), name);
  });

  it('names only settings and values that exist', async () => {
    const values = valuePaths(parse(await read('deploy/chart/values.yaml')));
    const isOpen = (value: string): boolean => !values.some((each) => each.startsWith(`${value}.`));
    const settings: readonly string[] = SETTING_KEYS;
    const sections = new Set([...settings, ...values].map((key) => key.split('.')[0] ?? ''));
    const page = await read('docs/operations.md');
    const named = [...codes(page), ...page.split(/\s+/)]
      .map((code) => code.replace(/^config\.|[=:,;*].*$|\)$|\.$/g, ''))
      .filter((code) => /^[a-zA-Z]+(\.[a-zA-Z-]+)+$/.test(code) && sections.has(code.split('.')[0] ?? ''));
    assert.ok(new Set(named).size >= 20, `${new Set(named).size} settings`);
    const isKnown = (name: string): boolean =>
      settings.includes(name) ||
      values.includes(name) ||
      values.some((value) => isOpen(value) && name.startsWith(`${value}.`));
    for (const name of named) assert.ok(isKnown(name), name);
  });

  it('names only error codes that exist', async () => {
    const page = await read('docs/operations.md');
    const named = codes(page).filter((code) => /^(store|address|upstream|peer)_[a-z_]+$/.test(code));
    assert.ok(named.length >= 3, `${named.length} codes`);
    for (const code of named) assert.ok(code in ERROR_CODES, code);
  });

  it('links only to pages and sections that exist', async () => {
    const page = await read('docs/operations.md');
    for (const [, path = '', section = ''] of page.matchAll(/\]\((?!https?:)([^)#]*)(#[^)]*)?\)/g)) {
      const target =
        path === ''
          ? page
          : await stat(join(ROOT, 'docs', path)).then(async (found) =>
              found.isDirectory() ? '' : read(join('docs', path)),
            );
      if (section !== '') assert.ok(sectionsOf(target).includes(section), `${path}${section}`);
    }
  });
});

/** As GitHub names the anchors of headings. */
function sectionsOf(page: string): readonly string[] {
  const headings = [...page.matchAll(/^#+ (.*)$/gm)].map(([, text = '']) => text);
  return headings.map(
    (text) =>
      `#${text
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-')}`,
  );
}
