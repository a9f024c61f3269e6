/**
 * What `weir import` has brought to this node, in one file of the data folder: for each reference the digest that it
 * names, and all blobs of that image. The file outlives a restart and is no cache: no registry would give it again. So
 * its blobs are pinned, and it is bounded.
 */
import { open, readFile, rename } from 'node:fs/promises';
import * as v from 'valibot';
import { errorMessage, systemCode, WeirError } from '../util/errors.ts';
import { tryParseDigest, type Digest } from '../oci/digest.ts';
import { formatImageReference, parseImageReference, type Tag } from '../oci/reference.ts';
import { repositoryKey, type RegistryHost, type Repository } from '../oci/repository.ts';
import { FILE_MODE } from './data-folder.ts';
import { writeError } from './file.ts';

/** References, and blobs of all of them together: some MiB of the file, which is written whole. */
const MAX_IMPORTS = 1_000;
const MAX_BLOBS = 50_000;

export interface ImportedBlob {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

export interface ImportRecord extends ImportedBlob {
  readonly repository: Repository;
  readonly tag: Tag;
  readonly mediaType: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** All blobs of the image, its manifest too. */
  readonly blobs: readonly ImportedBlob[];
}

const digestSchema = v.custom<Digest>(
  (value) => typeof value === 'string' && tryParseDigest(value) !== undefined,
);
const sizeSchema = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const fileSchema = v.object({
  version: v.literal(1),
  imports: v.array(
    v.object({
      reference: v.string(),
      digest: digestSchema,
      size: sizeSchema,
      mediaType: v.string(),
      at: v.number(),
      blobs: v.array(v.object({ digest: digestSchema, size: sizeSchema })),
    }),
  ),
});

/** `docker.io/library/alpine:v1` */
export function nameOf({ repository, tag }: Pick<ImportRecord, 'repository' | 'tag'>): string {
  return formatImageReference({ repository, reference: { kind: 'tag', tag } });
}

export class ImportRecords {
  readonly #path: string;
  /** By {@link nameOf}. */
  #records: ReadonlyMap<string, ImportRecord> = new Map();
  /** Sizes of the blobs, by their digest. */
  #sizes: ReadonlyMap<Digest, number> = new Map();
  /** Blobs of each repository, and of each registry. */
  #places: ReadonlySet<string> = new Set();
  /** Blobs of an import that runs. */
  readonly #arriving: Map<Digest, number> = new Map();

  private constructor(path: string) {
    this.#path = path;
  }

  /**
   * Reads the file; a damaged one is set aside as `<path>.damaged`.
   * @throws WeirError `store_unusable` if it cannot be read
   */
  static async open(path: string, onProblem: (message: string) => void): Promise<ImportRecords> {
    const records = new ImportRecords(path);
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (cause) {
      if (systemCode(cause) === 'ENOENT') return records;
      throw new WeirError('store_unusable', `cannot read ${path}: ${errorMessage(cause)}`, { cause });
    }
    try {
      records.#set(parse(text));
    } catch (error) {
      onProblem(`${path} is damaged (${errorMessage(error)}): set aside, import the images again`);
      await rename(path, `${path}.damaged`);
    }
    return records;
  }

  /** All of them, in the order of their names. */
  get all(): readonly ImportRecord[] {
    return [...this.#records.values()].toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  }

  /** Bytes of all blobs that are pinned. */
  get pinnedBytes(): number {
    const all = new Map([...this.#sizes, ...this.#arriving]);
    return all.values().reduce((sum, size) => sum + size, 0);
  }

  tag(repository: Repository, tag: Tag): ImportRecord | undefined {
    return this.#records.get(nameOf({ repository, tag }));
  }

  /** The size of a blob that an imported image of this repository consists of. */
  sizeIn(repository: Repository, digest: Digest): number | undefined {
    return this.#places.has(`${repositoryKey(repository)} ${digest}`) ? this.#sizes.get(digest) : undefined;
  }

  /** The record of an image of this repository that has this digest. */
  image(repository: Repository, digest: Digest): ImportRecord | undefined {
    if (this.sizeIn(repository, digest) === undefined) return undefined;
    const name = repositoryKey(repository);
    return this.#records
      .values()
      .find((record) => record.digest === digest && repositoryKey(record.repository) === name);
  }

  /** Whether an imported image of this registry has the blob. */
  isOf(registry: RegistryHost, digest: Digest): boolean {
    return this.#places.has(`${registry} ${digest}`);
  }

  hasRegistry(registry: RegistryHost): boolean {
    return this.#records.values().some(({ repository }) => repository.registry === registry);
  }

  isPinned(digest: Digest): boolean {
    return this.#sizes.has(digest) || this.#arriving.has(digest);
  }

  /** Pins a blob until {@link release}: the import that brings it has not ended. */
  hold({ digest, size }: ImportedBlob): void {
    this.#arriving.set(digest, size);
  }

  release(): void {
    this.#arriving.clear();
  }

  /**
   * Writes the records, in place of those with the same names.
   * @throws WeirError `import_refused` if they are too many; `store_full`, `store_unusable`
   */
  async add(added: readonly ImportRecord[]): Promise<void> {
    const records = new Map(this.#records);
    for (const record of added) records.set(nameOf(record), record);
    const blobs = records.values().reduce((sum, record) => sum + record.blobs.length, 0);
    if (records.size > MAX_IMPORTS || blobs > MAX_BLOBS) {
      const most = `${MAX_IMPORTS} images and ${MAX_BLOBS} blobs at most`;
      throw new WeirError(
        'import_refused',
        `too many imports (${most}): weir import --remove takes some away`,
      );
    }
    await this.#write(records);
  }

  /** @returns the record that was removed; undefined if there is none */
  async remove(repository: Repository, tag: Tag): Promise<ImportRecord | undefined> {
    const removed = this.tag(repository, tag);
    if (removed === undefined) return undefined;
    const records = new Map(this.#records);
    records.delete(nameOf(removed));
    await this.#write(records);
    return removed;
  }

  async #write(records: ReadonlyMap<string, ImportRecord>): Promise<void> {
    const imports = Array.from(records, ([reference, { digest, size, mediaType, at, blobs }]) => {
      return { reference, digest, size, mediaType, at, blobs };
    });
    const next = `${this.#path}.new`;
    try {
      await using file = await open(next, 'w', FILE_MODE);
      await file.writeFile(`${JSON.stringify({ version: 1, imports })}\n`);
      await file.sync(); // else a power cut could leave an empty file under the name
      await rename(next, this.#path);
    } catch (cause) {
      throw writeError(cause);
    }
    this.#set(records);
  }

  #set(records: ReadonlyMap<string, ImportRecord>): void {
    const sizes = new Map<Digest, number>();
    const places = new Set<string>();
    for (const { repository, blobs } of records.values()) {
      const name = repositoryKey(repository);
      for (const { digest, size } of blobs) {
        sizes.set(digest, size);
        places.add(`${name} ${digest}`).add(`${repository.registry} ${digest}`);
      }
    }
    this.#records = records;
    this.#sizes = sizes;
    this.#places = places;
  }
}

function parse(text: string): ReadonlyMap<string, ImportRecord> {
  const { imports } = v.parse(fileSchema, JSON.parse(text));
  const records = imports.map(({ reference: name, ...record }) => {
    const { repository, reference } = parseImageReference(name);
    if (reference.kind !== 'tag') throw new WeirError('reference_invalid', `${name} is no tag`);
    return Object.assign(record, { repository, tag: reference.tag });
  });
  return new Map(records.map((record) => [nameOf(record), record]));
}
