/**
 * Writes what the code knows into the docs, between markers: the settings, the fields of a registry, the
 * commands, the exit codes, and the kept results of the bench. `node docs/generate.ts` writes, with `--check` it only tells whether something
 * is out of date (exit code 1); a unit test does the same.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parse as parseYaml } from 'yaml';
import { EXIT_CODES } from '../src/cli/exit-codes.ts';
import { buildProgram } from '../src/cli/program.ts';
import { RELOADABLE } from '../src/config/reloadable.ts';
import { REGISTRY_FIELDS } from '../src/config/registries.ts';
import { SECTIONS, envName, flagName, sectionOf } from '../src/config/setting-names.ts';
import { SETTING_KEYS, settingOf, type SettingKey } from '../src/config/settings.ts';
import { benchmarkParts } from './benchmarks/parts.ts';
import { table } from './markdown.ts';

/** Columns of the help texts in the docs. */
const HELP_COLUMNS = 100;

type Parts = Readonly<Record<string, string>>;

interface ValueSchema {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, ValueSchema>>;
}

export interface GeneratedDocument {
  readonly file: string;
  readonly before: string;
  readonly after: string;
}

/** The documents as they are, and as they should be. */
export async function generateDocuments(): Promise<readonly GeneratedDocument[]> {
  const wanted: Readonly<Record<string, Parts>> = {
    'configuration.md': {
      reloadable: reloadableList(),
      settings: settingsTable(),
      registries: registriesTable(),
    },
    'cli.md': { commands: commandHelp(), 'exit-codes': exitCodeTable() },
    'benchmarks.md': await benchmarkParts(),
    '../deploy/chart/README.md': { values: await chartValuesTable() },
  };
  const documents: GeneratedDocument[] = [];
  for (const [name, parts] of Object.entries(wanted)) {
    const file = fileURLToPath(new URL(name, import.meta.url));
    const before = await readFile(file, 'utf8');
    documents.push({ file, before, after: fill(before, parts, name) });
  }
  return documents;
}

function fill(text: string, parts: Parts, name: string): string {
  let filled = text;
  for (const [part, content] of Object.entries(parts)) {
    const [begin, end] = [`<!-- generated: ${part} -->`, `<!-- end: ${part} -->`];
    const [from, to] = [filled.indexOf(begin), filled.indexOf(end)];
    if (from === -1 || to < from) throw new Error(`${name}: the markers of "${part}" are missing`);
    filled = `${filled.slice(0, from + begin.length)}\n${content}\n${filled.slice(to)}`;
  }
  return filled;
}

function settingsTable(): string {
  return Object.entries(SECTIONS)
    .map(([section, title]) => {
      const rows = SETTING_KEYS.filter((key) => sectionOf(key) === section).map(settingRow);
      return `\n### ${title}\n\n${table(['Setting', 'Default', 'What it is', 'Allowed'], rows)}`;
    })
    .join('\n');
}

function reloadableList(): string {
  return `\n${[...RELOADABLE].map((key) => `\`${key}\``).join(', ')}.\n`;
}

function settingRow(key: SettingKey): readonly string[] {
  const setting = settingOf(key);
  const names = `\`${key}\` \`${flagName(key)}\` \`${envName(key)}\``;
  const value = setting.default === '' ? '(none)' : `\`${setting.default}\``;
  return [names, value, setting.description, setting.allowed];
}

function registriesTable(): string {
  const rows = Object.entries(REGISTRY_FIELDS).map(([name, description]) => [`\`${name}\``, description]);
  return table(['Field', 'What it is'], rows);
}

function exitCodeTable(): string {
  return table(
    ['Code', 'Meaning'],
    EXIT_CODES.map(({ code, meaning }) => [`\`${code}\``, meaning]),
  );
}

/** `--help` of every command, as it looks in a terminal. */
function commandHelp(): string {
  const sink = { write: () => true, columns: HELP_COLUMNS } as unknown as NodeJS.WriteStream;
  const program = buildProgram({ version: '', env: {}, stdout: sink, stderr: sink }, () => undefined);
  return program.commands
    .flatMap((command) => [command].concat(command.commands))
    .map((command) => {
      const name = command.helpInformation().match(/^Usage: (weir(?: [a-z]+)+)/)?.[1] ?? command.name();
      return `\n### ${name}\n\n\`\`\`text\n${command.helpInformation().trimEnd()}\n\`\`\``;
    })
    .join('\n');
}

/** What values.schema.json says of each value, with the default of values.yaml. */
async function chartValuesTable(): Promise<string> {
  const read = (name: string): Promise<string> =>
    readFile(new URL(`../deploy/chart/${name}`, import.meta.url), 'utf8');
  const schema = JSON.parse(await read('values.schema.json')) as ValueSchema;
  const rows: string[][] = [];
  const visit = (part: ValueSchema, value: unknown, path: string): void => {
    if (part.properties === undefined) {
      if (part.description === undefined) throw new Error(`values.schema.json: ${path} has no description`);
      if (value !== undefined) rows.push([`\`${path}\``, `\`${JSON.stringify(value)}\``, part.description]);
      return;
    }
    const values = value as Readonly<Record<string, unknown>>;
    for (const name of Object.keys(values)) {
      if (!(name in part.properties)) throw new Error(`values.schema.json has no ${path}.${name}`);
    }
    for (const [name, each] of Object.entries(part.properties)) {
      visit(each, values[name], path === '' ? name : `${path}.${name}`);
    }
  };
  visit(schema, parseYaml(await read('values.yaml')), '');
  return table(['Value', 'Default', 'What it is'], rows);
}

async function main(check: boolean): Promise<void> {
  for (const { file, before, after } of await generateDocuments()) {
    if (before === after) continue;
    if (!check) {
      await writeFile(file, after);
      console.log(`written: ${file}`);
    } else {
      console.error(`out of date: ${file} (run: npm run docs)`);
      process.exitCode = 1;
    }
  }
}

if (import.meta.main) await main(process.argv.includes('--check'));
