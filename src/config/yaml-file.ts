/**
 * The YAML file: its sections flattened to the keys of the settings, each value with the line it stands on.
 * Mistakes are collected, not thrown, so that all are told at once. No message quotes the file, as the line
 * beside a mistake may hold a password.
 */
import { errorMessage } from '../util/errors.ts';
import { didYouMean } from './spelling.ts';
import { SECTIONS, SETTING_KEYS, type SettingKey } from './settings.ts';

/** A value before it is checked, and who gave it. */
export interface RawValue {
  readonly value: unknown;
  readonly origin: string;
}

export interface YamlSettings {
  readonly values: ReadonlyMap<SettingKey, RawValue>;
  /** What stands under `registries:`, if anything does. */
  readonly registries: unknown;
  /** `file NAME:LINE` of what stands at `path`. */
  readonly originOf: (path: readonly string[]) => string;
  readonly problems: readonly string[];
}

/** Errors of the parser that are told: the first one makes most of the others, and each is a line. */
const MAX_PARSE_ERRORS = 20;

/** Aliases that one file may expand; more is the "billion laughs" way to fill the memory. */
const MAX_ALIASES = 100;

const KEYS: ReadonlySet<string> = new Set(SETTING_KEYS);

export async function readYamlSettings(text: string, file: string): Promise<YamlSettings> {
  const { LineCounter, isNode, parseDocument } = await import('yaml'); // 3 MiB that a node without a file saves
  const lines = new LineCounter();
  const nothing = { values: new Map(), registries: undefined, originOf: () => `file ${file}` };
  try {
    // A key that is no text would be quoted: in problems, and by the library in a warning of its own.
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
    // The parser calls itself for each level.
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

/** What is wrong without the piece of the file that the parser quotes. */
function withoutSource(message: string): string {
  return message.replace(/: .*$/s, '').replaceAll(/"[^"]*"/g, '…');
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
