/**
 * Edits `registries.yaml` of k3s and RKE2, from which they write containerd's hosts files when they start. Comments stay;
 * the library may change spaces.
 */
import { isDeepStrictEqual } from 'node:util';
import { isMap, isSeq, parseDocument, YAMLMap, YAMLSeq, type Document } from 'yaml';
import { errorMessage } from '../../util/errors.ts';
import { EditError, type Edit } from './edit.ts';

const MIRRORS = 'mirrors';
/** Aliases that the file may expand; more of them are the "billion laughs" attack on the memory. */
const MAX_ALIASES = 100;

/** @param names registries; `*` for all */
export function registriesYamlEdit(mirrorUrl: string, names: readonly string[]): Edit {
  return {
    add: (text = '') => {
      const file = read(text);
      const missing = names.filter((name) => !endpointsOf(file, name).includes(mirrorUrl));
      if (missing.length === 0) return text;
      for (const name of missing) {
        const endpoints = file.getIn([MIRRORS, name, 'endpoint'], true);
        if (isSeq(endpoints)) endpoints.items.unshift(file.createNode(mirrorUrl));
        else setEndpoint(file, name, mirrorUrl);
      }
      return write(file);
    },
    remove: (text, original) => {
      const file = read(text);
      const before = read(original ?? '');
      const ours = names.filter(
        (name) =>
          endpointsOf(file, name).includes(mirrorUrl) && !endpointsOf(before, name).includes(mirrorUrl),
      );
      for (const name of ours) removeEndpoint(file, before, name, mirrorUrl);
      const isEmpty = file.contents === null || (isMap(file.contents) && file.contents.items.length === 0);
      if (isEmpty && original === undefined) return undefined;
      return ours.length === 0 ? text : write(file);
    },
  };
}

function setEndpoint(file: Document, name: string, mirrorUrl: string): void {
  for (const path of [[], [MIRRORS], [MIRRORS, name]]) {
    const node = path.length === 0 ? file.contents : file.getIn(path, true);
    if (isMap(node)) {
      if (node.items.length === 0) node.flow = false; // `{}` would become one long line
      continue;
    }
    if (path.length === 0) file.contents = new YAMLMap() as typeof file.contents;
    else file.setIn(path, new YAMLMap());
  }
  const endpoints = new YAMLSeq();
  endpoints.add(file.createNode(mirrorUrl));
  file.setIn([MIRRORS, name, 'endpoint'], endpoints);
}

function removeEndpoint(file: Document, before: Document, name: string, mirrorUrl: string): void {
  const index = endpointsOf(file, name).indexOf(mirrorUrl);
  file.deleteIn([MIRRORS, name, 'endpoint', index]);
  // Containers that were made for it are removed too, if they are empty again.
  for (const path of [[MIRRORS, name, 'endpoint'], [MIRRORS, name], [MIRRORS]]) {
    const node = file.getIn(path, true);
    const isEmpty = (isMap(node) || isSeq(node)) && node.items.length === 0;
    if (!isEmpty || before.hasIn(path)) return;
    file.deleteIn(path);
  }
}

function endpointsOf(file: Document, name: string): readonly unknown[] {
  const endpoints = file.getIn([MIRRORS, name, 'endpoint'], true);
  return isSeq(endpoints) ? endpoints.toJSON() : [];
}

/** @throws EditError with the line */
function read(text: string): Document {
  const file = parseDocument(text, { logLevel: 'error' }); // its warnings quote the file, which holds passwords
  const [error] = file.errors;
  if (error !== undefined) {
    const [first = ''] = error.message.split('\n');
    throw new EditError(`is not valid YAML (${first})`, error.linePos?.[0].line, error);
  }
  try {
    file.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (cause) {
    if (cause instanceof RangeError) throw cause;
    throw new EditError(`is not usable YAML (${errorMessage(cause)})`, undefined, cause);
  }
  for (const path of [[], [MIRRORS]]) {
    const node = path.length === 0 ? file.contents : file.getIn(path, true);
    const isEmpty = node === undefined || node === null || (node as { value?: unknown }).value === null;
    if (!isEmpty && !isMap(node))
      throw new EditError(
        `has ${path.length === 0 ? 'no mapping at its top' : '"mirrors" that is no mapping'}`,
      );
  }
  return file;
}

/** @throws EditError if the library would not read its own output as the same content */
function write(file: Document): string {
  let text: string;
  let again: Document;
  try {
    text = file.toString({ lineWidth: 0 });
    again = read(text);
  } catch (cause) {
    if (cause instanceof RangeError) throw cause;
    throw cannot(cause);
  }
  if (!isDeepStrictEqual(again.toJS(), file.toJS())) throw cannot();
  return text;
}

function cannot(cause?: unknown): EditError {
  return new EditError('is written in a way that Weir cannot change', undefined, cause);
}
