/**
 * The entries of a tar archive from a stream, perhaps compressed with gzip. It may come from anywhere, so everything is
 * bounded, and nothing in it names a place on this machine's disk: paths are keys of a table and no more.
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract as createExtract, type Extract } from 'tar-stream';
import { drained } from './drained.ts';
import { errorMessage, systemCode, toError, WeirError } from '../util/errors.ts';

/** Entries of one archive, folders too. Hundreds of images in one archive have some thousands. */
const MAX_ENTRIES = 20_000;
/** Characters of a path; digests and names of layers take less than 200. */
const MAX_PATH = 1024;
/** Links that lead to links: those that programs write lead to a file at once. */
const MAX_LINKS = 8;

export type TarEntry =
  | {
      readonly kind: 'file';
      readonly path: string;
      /** Bytes. */
      readonly size: number;
      /** To be read to its end before the next entry. */
      readonly bytes: AsyncIterable<Uint8Array>;
    }
  | { readonly kind: 'link'; readonly path: string; readonly target: string };

/** The first bytes of files that are compressed in another way. */
const COMPRESSED: readonly { readonly magic: string; readonly name: string }[] = [
  { magic: '28b52ffd', name: 'zstd' },
  { magic: 'fd377a58', name: 'xz' },
  { magic: '425a68', name: 'bzip2' },
  { magic: '04224d18', name: 'lz4' },
  { magic: '504b0304', name: 'zip' },
];
const GZIP = '1f8b';

/**
 * @param maxBytes of the archive, after decompression
 * @throws WeirError `archive_invalid`; the error of the source
 */
export async function* tarEntries(
  source: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<TarEntry, void> {
  const failure: SourceFailure = {};
  const extract = createExtract();
  const fed = feed(bounded(decompressed(watched(source, failure)), maxBytes), extract);
  let entries = 0;
  try {
    for await (const entry of extract) {
      if (++entries > MAX_ENTRIES) throw invalid(`more than ${MAX_ENTRIES} entries`);
      const { type, name, size, linkname } = entry.header;
      const path = pathOf(name);
      if (type === 'file' || type === 'contiguous-file') {
        yield { kind: 'file', path, size, bytes: contentOf(entry as AsyncIterable<Uint8Array>, failure) };
      } else if (type === 'symlink' || type === 'link') {
        const base = type === 'symlink' ? path.split('/').slice(0, -1) : [];
        yield { kind: 'link', path, target: targetOf(base, path, linkname ?? '') };
      } else if (type !== 'directory') {
        throw invalid(`${shown(name)} is neither a file, a folder nor a link`);
      }
      entry.resume(); // of what nobody read
    }
    await fed;
  } catch (error) {
    throw failure.source ?? explained(error);
  } finally {
    extract.destroy(); // the source may still wait for bytes: whoever opened it closes it
  }
}

interface SourceFailure {
  source?: Error;
}

/** The path of an entry, or of what a link leads to, in one form. @throws WeirError `archive_invalid` */
export function pathOf(name: string): string {
  const parts = name.split('/').filter((part) => part !== '.' && part !== '');
  const isTrick = name.startsWith('/') || parts.includes('..') || name.includes('\0') || name.includes('\\');
  if (isTrick) throw invalid(`the path ${shown(name)} leads out of the archive`);
  if (name.length > MAX_PATH) throw invalid(`the path ${shown(name)} is longer than ${MAX_PATH} characters`);
  return parts.join('/');
}

/** Follows links. @throws WeirError `archive_invalid` if they lead in a circle */
export function followed(path: string, links: ReadonlyMap<string, string>): string {
  let at = path;
  for (let steps = 0; ; steps++) {
    const next = links.get(at);
    if (next === undefined) return at;
    if (steps >= MAX_LINKS) throw invalid(`the link ${shown(path)} leads nowhere`);
    at = next;
  }
}

export function invalid(problem: string, cause?: unknown): WeirError {
  return new WeirError('archive_invalid', `not an image archive that can be read: ${problem}`, { cause });
}

/** A text from the archive, as a message may show it. */
export function shown(text: string): string {
  return JSON.stringify(text.slice(0, 140));
}

function targetOf(base: readonly string[], path: string, linkname: string): string {
  if (linkname.startsWith('/')) throw invalid(`the link ${shown(path)} leads out of the archive`);
  const parts = [...base];
  for (const part of linkname.split('/')) {
    if (part === '..' && parts.pop() === undefined)
      throw invalid(`the link ${shown(path)} leads out of the archive`);
    if (part !== '..') parts.push(part);
  }
  return pathOf(parts.join('/'));
}

/** The bytes of an entry; an archive that ends within them is no defect of whoever reads them. */
async function* contentOf(
  bytes: AsyncIterable<Uint8Array>,
  failure: SourceFailure,
): AsyncGenerator<Uint8Array, void> {
  try {
    yield* bytes;
  } catch (error) {
    throw failure.source ?? explained(error);
  }
}

/** Remembers the source's own failure: the parser reports it as one of its own. */
async function* watched(
  source: AsyncIterable<Uint8Array>,
  failure: SourceFailure,
): AsyncGenerator<Uint8Array, void> {
  try {
    yield* source;
  } catch (error) {
    failure.source = toError(error);
    throw error;
  }
}

async function* decompressed(source: AsyncGenerator<Uint8Array, void>): AsyncGenerator<Uint8Array, void> {
  let head = Buffer.alloc(0);
  while (head.length < 4) {
    const next = await source.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  if (head.length === 0) throw invalid('it is empty');
  const magic = head.subarray(0, 4).toString('hex');
  const other = COMPRESSED.find((each) => magic.startsWith(each.magic));
  if (other !== undefined) throw invalid(`it is compressed with ${other.name}: decompress it first`);
  const whole = joined(head, source);
  if (!magic.startsWith(GZIP)) {
    yield* whole;
    return;
  }
  const gunzip = createGunzip();
  const piped = pipeline(Readable.from(whole), gunzip).catch(() => undefined); // the reader below gets the error
  try {
    yield* gunzip as AsyncIterable<Uint8Array>;
  } finally {
    gunzip.destroy();
    await piped;
  }
}

async function* joined(head: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  yield head;
  yield* rest;
}

/** Some bytes of gzip make a thousand times as many. */
async function* bounded(
  source: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Uint8Array, void> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw invalid(`it has more than the ${maxBytes} bytes that the store can hold`);
    yield chunk;
  }
}

/** Never rejects: the reader of the entries gets the error. */
async function feed(source: AsyncIterable<Uint8Array>, extract: Extract): Promise<void> {
  try {
    for await (const chunk of source) {
      if (extract.destroyed) return;
      if (!extract.write(chunk)) await drained(extract);
    }
    extract.end(undefined);
  } catch (error) {
    extract.destroy(error as Error);
  }
}

function explained(error: unknown): Error {
  if (error instanceof WeirError) return error;
  if (systemCode(error)?.startsWith('Z_') === true) {
    return invalid(`the gzip data is damaged or cut short (${errorMessage(error)})`, error);
  }
  const message = errorMessage(error);
  if (message.includes('Unexpected end of data')) return invalid('it is cut short, or no tar archive', error);
  return invalid('it is no tar archive, or damaged', error); // whatever the parser stumbled over
}
