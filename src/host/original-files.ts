/**
 * The original texts: one record for each file that Weir wrote. The record is written before the file itself, so that a
 * crash in between leaves a record without a change, never a change without a record.
 *
 * Root writes the text of a record back. So only root may enter their folder, which is not Weir's data folder.
 */
import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import * as v from 'valibot';
import { isWeirError } from '../util/errors.ts';
import { problem, UNFINISHED, type HostFiles } from './host-files.ts';

export const STATE_FOLDER = '/var/lib/weir-host';
const RECORD_MODE = 0o600;

const Schema = v.strictObject({
  /** Version of this form; another one is from a newer Weir. */
  version: v.literal(1),
  path: v.pipe(v.string(), v.startsWith('/')),
  runtime: v.picklist(['containerd', 'docker', 'containers', 'k3s', 'rke2']),
  mirrorUrl: v.string(),
  registries: v.array(v.string()),
  /** The original text; null: there was no file. */
  original: v.nullable(v.string()),
  /** When the original was written, milliseconds since the epoch; null: there was no file. */
  mtime: v.nullable(v.number()),
  /** SHA-256 of each text that Weir wrote: after a crash the file may hold the last but one. */
  written: v.array(v.string()),
  /** Folders that were made for the file. */
  folders: v.array(v.string()),
});

export type Record = v.InferOutput<typeof Schema>;

export interface KnownRecords {
  readonly records: readonly Record[];
  readonly problems: readonly string[];
}

export class Records {
  readonly #files: HostFiles;
  readonly #folder: string;

  constructor(files: HostFiles, folder: string) {
    this.#files = files;
    this.#folder = folder;
  }

  /** A record that cannot be read is a problem; the others are read. */
  async all(): Promise<KnownRecords> {
    const records: Record[] = [];
    const problems: string[] = [];
    for (const name of await this.#files.list(this.#folder)) {
      if (!name.endsWith('.json') || name.startsWith('.')) continue;
      const path = posix.join(this.#folder, name);
      try {
        records.push(parse(path, (await this.#files.read(path)) ?? ''));
      } catch (error) {
        if (!isWeirError(error, 'runtime_config')) throw error;
        problems.push(error.message);
      }
    }
    return { records, problems };
  }

  async write(record: Record): Promise<void> {
    const text = `${JSON.stringify(record, null, 2)}\n`;
    await this.#files.write(this.#pathOf(record.path), text, { mode: RECORD_MODE });
  }

  async remove(path: string): Promise<void> {
    await this.#files.remove(this.#pathOf(path));
  }

  /** Removes records whose writing was interrupted. */
  async tidy(): Promise<void> {
    for (const name of await this.#files.list(this.#folder)) {
      if (name.endsWith(UNFINISHED)) await this.#files.remove(posix.join(this.#folder, name));
    }
  }

  /** Whether the folder exists without a record: a run was interrupted, or another one is at work. */
  async hasRemains(): Promise<boolean> {
    return (await this.#files.exists(this.#folder)) && (await this.all()).records.length === 0;
  }

  /** `/etc/docker/daemon.json` is kept in `etc-docker-daemon.json-1a2b3c4d.json`: readable, and never ambiguous. */
  #pathOf(path: string): string {
    const readable = path.slice(1).replaceAll(/[^A-Za-z0-9._]+/g, '-');
    return posix.join(this.#folder, `${readable.slice(-100)}-${sha256(path).slice(0, 8)}.json`);
  }
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function parse(path: string, text: string): Record {
  try {
    return v.parse(Schema, JSON.parse(text));
  } catch (cause) {
    throw problem(
      path,
      'is not a record of this version of Weir: use the version that wrote it, or remove it',
      cause,
    );
  }
}
