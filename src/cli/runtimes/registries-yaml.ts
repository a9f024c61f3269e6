/**
 * Edits `registries.yaml` of k3s and RKE2, from which they write containerd's hosts files when they start. Comments stay;
 * the library may change spaces.
 *
 * The endpoints of a mirror are asked in their order, then the registry of the name. Weir asks that registry, so it stands
 * behind endpoints that are elsewhere. Where names are rewritten it is left out: a rewritten name is not the registry's.
 * https://docs.k3s.io/installation/private-registry
 */
import { isDeepStrictEqual } from 'node:util';
import { Document, isMap, isSeq, parseDocument, YAMLMap, YAMLSeq } from 'yaml';
import { errorMessage } from '../../util/errors.ts';
import { EditError, type Edit } from './edit.ts';
import { isRegistry } from './hosts-toml.ts';
import { isMapping, valuesOf, type Values } from './values.ts';

const MIRRORS = 'mirrors';
/** The entry for registries without one of their own. */
const ALL = '*';
/** Aliases that the file may expand; more of them are the "billion laughs" attack on the memory. */
const MAX_ALIASES = 100;

/** @param names registries; `*` for all */
export function registriesYamlEdit(mirrorUrl: string, names: readonly string[]): Edit {
  return {
    add: (text = '') => {
      const file = read(text);
      const before = file.toJS() as unknown;
      // The entry for all comes last: the others begin as its copy.
      const missing = names
        .toSorted((a, b) => Number(a === ALL) - Number(b === ALL))
        .filter((name) => {
          const { endpoints, isRewritten } = mirrorOf(before, name);
          return !isRewritten && !endpoints.includes(mirrorUrl);
        });
      if (missing.length === 0) return text;
      const wanted = missing.reduce((value, name) => withEndpoint(value, name, mirrorUrl), before);
      for (const name of missing) insert(file, name, mirrorUrl);
      // An anchor that others refer to would give them the mirror too: then all is written out.
      return write(isDeepStrictEqual(valueOf(file), wanted) ? file : new Document(wanted), wanted);
    },
    remove: (text, original) => {
      const file = read(text);
      const before = read(original ?? '');
      const ours = names.filter(
        (name) =>
          mirrorOf(file.toJS(), name).endpoints.includes(mirrorUrl) &&
          !mirrorOf(before.toJS(), name).endpoints.includes(mirrorUrl),
      );
      for (const name of ours) removeEndpoint(file, before, name, mirrorUrl);
      const isEmpty = file.contents === null || (isMap(file.contents) && file.contents.items.length === 0);
      if (isEmpty && original === undefined) return undefined;
      return ours.length === 0 ? text : write(file, file.toJS());
    },
  };
}

/** @throws EditError */
export function registriesYamlNotes(
  text: string,
  names: readonly string[],
  mirrorUrl: string,
): readonly string[] {
  const value = read(text).toJS() as unknown;
  const { mirrors, configs } = valuesOf(value);
  const others = [...Object.keys(valuesOf(mirrors)), ...Object.keys(valuesOf(configs))].filter(
    (name) => !names.includes(name),
  );
  const notes = names.flatMap((name) => {
    const { endpoints, isRewritten } = mirrorOf(value, name);
    const places = endpoints.filter((url) => url !== mirrorUrl && !isRegistry(url, name)).join(', then ');
    if (isRewritten) {
      return [
        `"${name}" rewrites names, which the mirror does not: it is left as it is, and its pulls bypass the mirror`,
      ];
    }
    return places === ''
      ? []
      : [
          `"${name}" is pulled from ${places} first: the mirror stands behind, in front of the registry itself`,
        ];
  });
  if (!names.includes(ALL) || others.length === 0) return notes;
  return [
    ...notes,
    `${[...new Set(others)].join(', ')}: has an entry of its own, so its pulls bypass the mirror; name it with --registries`,
  ];
}

/** The `data-dir` of config.yaml. @throws EditError */
export function dataFolderOf(text: string): string | undefined {
  const folder = valuesOf(parse(text).toJS())['data-dir'];
  return typeof folder === 'string' && folder.startsWith('/') ? folder : undefined;
}

function mirrorOf(
  file: unknown,
  name: string,
): { readonly entry: Values; readonly endpoints: readonly string[]; readonly isRewritten: boolean } {
  const mirrors = valuesOf(valuesOf(file)[MIRRORS]);
  const entry = (Object.hasOwn(mirrors, name) ? mirrors[name] : mirrors[ALL]) ?? {};
  if (!isMapping(entry)) throw new EditError(`has a mirror "${name}" that is no mapping`);
  const { endpoint, rewrite } = entry;
  const endpoints: unknown = endpoint ?? [];
  if (!Array.isArray(endpoints) || !endpoints.every((each) => typeof each === 'string')) {
    throw new EditError(`has an "endpoint" of "${name}" that is no list of texts`);
  }
  return { entry, endpoints, isRewritten: Object.keys(valuesOf(rewrite)).length > 0 };
}

/** The index of the mirror: behind all endpoints that are not the registry itself. */
function placeIn(endpoints: readonly string[], name: string): number {
  return endpoints.findLastIndex((url) => !isRegistry(url, name)) + 1;
}

function withEndpoint(file: unknown, name: string, mirrorUrl: string): unknown {
  const values = valuesOf(file);
  const mirrors = valuesOf(values[MIRRORS]);
  const { entry, endpoints } = mirrorOf(file, name);
  const endpoint = endpoints.toSpliced(placeIn(endpoints, name), 0, mirrorUrl);
  return { ...values, [MIRRORS]: { ...mirrors, [name]: { ...entry, endpoint } } };
}

/** Where the file writes the list out, the mirror joins it; else the list or its parents are made. */
function insert(file: Document, name: string, mirrorUrl: string): void {
  const { entry, endpoints } = mirrorOf(file.toJS(), name);
  const place = placeIn(endpoints, name);
  const node = file.hasIn([MIRRORS, name, 'endpoint'])
    ? nodeAt(file, [MIRRORS, name, 'endpoint'])
    : undefined;
  if (isSeq(node) && node.items.length === endpoints.length) {
    node.items.splice(place, 0, file.createNode(mirrorUrl));
    return;
  }
  for (const path of [[], [MIRRORS], [MIRRORS, name]]) {
    const found = path.length === 0 ? file.contents : nodeAt(file, path);
    if (isMap(found)) {
      if (found.items.length === 0) found.flow = false; // `{}` would become one long line
      continue;
    }
    if (path.length === 0) file.contents = new YAMLMap() as typeof file.contents;
    else file.setIn(path, path.length === 2 ? file.createNode(entry) : new YAMLMap());
  }
  const list = new YAMLSeq();
  for (const each of endpoints.toSpliced(place, 0, mirrorUrl)) list.add(file.createNode(each));
  file.setIn([MIRRORS, name, 'endpoint'], list);
}

/** Undefined behind an alias. */
function nodeAt(file: Document, path: readonly string[]): unknown {
  try {
    return file.getIn(path, true);
  } catch {
    return undefined;
  }
}

function removeEndpoint(file: Document, before: Document, name: string, mirrorUrl: string): void {
  const index = mirrorOf(file.toJS(), name).endpoints.indexOf(mirrorUrl);
  file.deleteIn([MIRRORS, name, 'endpoint', index]);
  // Containers that were made for it are removed too, if they are empty again.
  for (const path of [[MIRRORS, name, 'endpoint'], [MIRRORS, name], [MIRRORS]]) {
    const node = nodeAt(file, path);
    const isEmpty = (isMap(node) || isSeq(node)) && node.items.length === 0;
    if (!isEmpty || before.hasIn(path)) return;
    file.deleteIn(path);
  }
}

/** Undefined if an alias has lost its anchor. */
function valueOf(file: Document): unknown {
  try {
    return read(file.toString({ lineWidth: 0 })).toJS();
  } catch (cause) {
    if (cause instanceof RangeError) throw cause;
    return undefined;
  }
}

/** @throws EditError with the line */
function read(text: string): Document {
  const file = parse(text);
  for (const path of [[], [MIRRORS]]) {
    const value: unknown = path.length === 0 ? file.toJS() : valuesOf(file.toJS())[MIRRORS];
    if (value !== undefined && value !== null && !isMapping(value))
      throw new EditError(
        `has ${path.length === 0 ? 'no mapping at its top' : '"mirrors" that is no mapping'}`,
      );
  }
  return file;
}

function parse(text: string): Document {
  // `<<` is known to k3s's reader. The library's warnings quote the file, which holds passwords.
  const file = parseDocument(text, { merge: true, logLevel: 'error' });
  const [error] = file.errors;
  if (error !== undefined) {
    const [first = ''] = error.message.split('\n');
    const what = error.code === 'MULTIPLE_DOCS' ? 'holds several documents' : `is not valid YAML (${first})`;
    throw new EditError(what, error.linePos?.[0].line, error);
  }
  try {
    file.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (cause) {
    if (cause instanceof RangeError) throw cause;
    throw new EditError(`is not usable YAML (${errorMessage(cause)})`, undefined, cause);
  }
  return file;
}

/** @throws EditError if the library would not read its own output as the same content */
function write(file: Document, wanted: unknown): string {
  let text: string;
  let again: Document;
  try {
    text = file.toString({ lineWidth: 0 });
    again = read(text);
  } catch (cause) {
    if (cause instanceof RangeError) throw cause;
    throw cannot(cause);
  }
  if (!isDeepStrictEqual(again.toJS(), wanted)) throw cannot();
  return text;
}

function cannot(cause?: unknown): EditError {
  return new EditError('is written in a way that Weir cannot change', undefined, cause);
}
