/**
 * Edits Docker's `daemon.json`: the mirror is the last of `registry-mirrors`. dockerd asks them in their order, then Docker
 * Hub, which Weir asks: so what other mirrors deliver stays as it is. Every other byte stays.
 */
import { isDeepStrictEqual } from 'node:util';
import { applyEdits, modify, parse, printParseErrorCode, type JSONPath, type ParseError } from 'jsonc-parser';
import { EditError, endOfLine, lineAt, type Edit } from './edit.ts';

const KEY = 'registry-mirrors';

type Json = Readonly<Record<string, unknown>>;

export function daemonJsonEdit(mirrorUrl: string): Edit {
  return {
    add: (text) => {
      if (text === undefined || text.trim() === '')
        return `${JSON.stringify({ [KEY]: [mirrorUrl] }, null, 2)}\n`;
      const mirrors = mirrorsOf(parseDaemonJson(text));
      if (mirrors?.some((mirror) => isSameUrl(mirror, mirrorUrl)) === true) return text;
      const after =
        mirrors === undefined
          ? change(text, [KEY], [mirrorUrl])
          : change(text, [KEY, mirrors.length], mirrorUrl, { isArrayInsertion: true });
      return checked(after, [...(mirrors ?? []), mirrorUrl]);
    },
    remove: (text, original) => {
      const mirrors = mirrorsOf(parseDaemonJson(text)) ?? [];
      const before = parseDaemonJson(original);
      if (mirrorsOf(before)?.some((mirror) => isSameUrl(mirror, mirrorUrl)) === true) return text;
      const index = mirrors.findIndex((mirror) => isSameUrl(mirror, mirrorUrl));
      let rest = text;
      if (index !== -1) {
        const isLast = mirrors.length === 1 && before[KEY] === undefined;
        const others = mirrors.toSpliced(index, 1);
        rest = checked(change(text, isLast ? [KEY] : [KEY, index], undefined), others);
      }
      const isEmpty = Object.keys(parseDaemonJson(rest)).length === 0;
      return isEmpty && original === undefined ? undefined : rest;
    },
  };
}

/** No file, or an empty one, is an empty object. @throws EditError with the line */
export function parseDaemonJson(text: string | undefined): Json {
  if (text === undefined || text.trim() === '') return {};
  const errors: ParseError[] = [];
  const value: unknown = parse(text, errors, { disallowComments: true, allowTrailingComma: false });
  const [first] = errors;
  if (first !== undefined) {
    throw new EditError(
      `is not valid JSON (${printParseErrorCode(first.error)})`,
      lineAt(text, first.offset),
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new EditError('is not a JSON object', 1);
  }
  return value as Json;
}

/** The mirrors that are asked before Weir's. @throws EditError */
export function otherMirrors(text: string | undefined, mirrorUrl: string): readonly string[] {
  return (mirrorsOf(parseDaemonJson(text)) ?? []).filter((each) => !isSameUrl(each, mirrorUrl));
}

/** Undefined: no list, which is written as null, too. */
function mirrorsOf(file: Json): readonly string[] | undefined {
  const mirrors = file[KEY];
  if (mirrors === undefined || mirrors === null) return undefined;
  if (!Array.isArray(mirrors) || !mirrors.every((mirror) => typeof mirror === 'string')) {
    throw new EditError(`has a "${KEY}" that is no list of texts`);
  }
  return mirrors;
}

/** The file may have a key twice: dockerd takes the last one, but the library changes the first one. */
function checked(text: string, mirrors: readonly string[]): string {
  if (isDeepStrictEqual(mirrorsOf(parseDaemonJson(text)) ?? [], mirrors)) return text;
  throw new EditError(`has a "${KEY}" that cannot be changed; write it only once`);
}

/** dockerd takes `http://a` and `http://a/` for the same mirror. */
function isSameUrl(a: string, b: string): boolean {
  return a.replace(/\/$/, '') === b.replace(/\/$/, '');
}

function change(
  text: string,
  path: JSONPath,
  value: unknown,
  options: { readonly isArrayInsertion?: boolean } = {},
): string {
  const tabbed = /^\t/m.test(text);
  const indent = /^( +)\S/m.exec(text)?.[1]?.length ?? 2;
  const formattingOptions = { insertSpaces: !tabbed, tabSize: indent, eol: endOfLine(text) };
  return applyEdits(text, modify(text, path, value, { formattingOptions, ...options }));
}
