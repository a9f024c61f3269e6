/**
 * Reads the YAML file: its sections are flattened to the keys of the settings, and each value keeps its line.
 * Mistakes are collected, not thrown, so that all are reported at once. No message quotes the file, as the line of a
 * mistake may hold a password.
 */
import { errorMessage } from '../util/errors.ts';
import { didYouMean } from './spelling.ts';
import { SECTIONS } from './setting-names.ts';
import { SETTING_KEYS, type SettingKey } from './settings.ts';

/** A value before it is checked, and its source. */
export interface RawValue {
  readonly value: unknown;
  readonly origin: string;
}

export interface YamlSettings {
  readonly values: ReadonlyMap<SettingKey, RawValue>;
  /** The value of `registries:`, if there is one. */
  readonly registries: unknown;
  /** `file NAME:LINE` of the value at `path`. */
  readonly originOf: (path: readonly string[]) => string;
  readonly problems: readonly string[];
}

/** Errors of the parser that are reported: the first one causes most of the others. */
const MAX_PARSE_ERRORS = 20;

/** Aliases that one file may expand; more of them are the "billion laughs" attack on the memory. */
const MAX_ALIASES = 100;

const KEYS: ReadonlySet<string> = new Set(SETTING_KEYS);

export async function readYamlSettings(text: string, file: string): Promise<YamlSettings> {
  const { LineCounter, isNode, parseDocument } = await import('yaml'); // 3 MiB that a node without a file saves
  const lines = new LineCounter();
  const nothing = { values: new Map(), registries: undefined, originOf: () => `file ${file}` };
  try {
    // Otherwise problems, and a warning of the library, would quote a key that is no text.
    const options = { prettyErrors: false, stringKeys: true, logLevel: 'error' } as const;
    const document = parseDocument(text, { lineCounter: lines, ...options });
    const originOf = (path: readonly string[]): string => {
      const node = document.getIn(path, true);
      const offset = isNode(node) ? node.range?.[0] : undefined;
      return offset === undefined ? `file ${file}` : `file ${file}:${lines.linePos(offset).line}`;
    };
    const broken = [...document.errors, ...document.warnings].slice(0, MAX_PARSE_ERRORS).map((error) => {
      const line = lines.linePos(error.pos[0]).line;
      return `file ${file}:${line}: no valid YAML: ${withoutSource(error.message)}`;
    });
    if (broken.length > 0) return { ...nothing, problems: broken };
    return { ...flatten(document.toJS({ maxAliasCount: MAX_ALIASES }), originOf), originOf };
  } catch (error) {
    // The parser calls itself for each level, so that deep nesting exhausts the stack.
    const problem = error instanceof RangeError ? 'it is nested too deeply' : errorMessage(error);
    return { ...nothing, problems: [`file ${file}: no usable YAML: ${problem}`] };
  }
}

function flatten(
  root: unknown,
  originOf: YamlSettings['originOf'],
): Pick<YamlSettings, 'values' | 'registries' | 'problems'> {
  const values = new Map<SettingKey, RawValue>();
  const problems: string[] = [];
  const sections = isMapping(root) ? root : {};
  if (root !== null && root !== undefined && !isMapping(root)) {
    problems.push(`(${originOf([])}): sections such as "mirror:" are expected, not a single value or a list`);
  }
  for (const [section, content] of Object.entries(sections)) {
    if (section === 'registries' || content === null) continue;
    const origin = originOf([section]);
    if (KEYS.has(section)) {
      const [outer = '', inner = ''] = section.split('.');
      problems.push(`${section}: write it as a section, "${outer}:" and below it "${inner}:" (${origin})`);
    } else if (!isMapping(content)) {
      problems.push(
        `${section}: is no section${didYouMean(section, [...Object.keys(SECTIONS), 'registries'])} (${origin})`,
      );
    } else {
      for (const [name, value] of Object.entries(content)) {
        const key = `${section}.${name}`;
        const at = originOf([section, name]);
        if (KEYS.has(key)) values.set(key as SettingKey, { value, origin: at });
        else problems.push(`${key}: no such setting${didYouMean(key, KEYS)} (${at})`);
      }
    }
  }
  return { values, registries: sections['registries'] ?? undefined, problems };
}

/** The parser's message without the part of the file that it quotes. */
function withoutSource(message: string): string {
  return message.replace(/: .*$/s, '').replaceAll(/"[^"]*"/g, '…');
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
