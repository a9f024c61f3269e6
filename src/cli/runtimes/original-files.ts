/**
 * What was there before: one record for each file that was written, with the text of before in it. Written in front of
 * the file itself, so that a crash in between leaves a record of something that did not happen, never the reverse.
 *
 * Records are trusted with what is written as root: their folder is root's alone, and not Weir's data folder.
 */
import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import * as v from 'valibot';
import { problem, UNFINISHED, type HostFiles } from './host-files.ts';

export const STATE_FOLDER = '/var/lib/weir-host';
const RECORD_MODE = 0o600;

const Schema = v.strictObject({
  /** Of this form; another one is a newer Weir's. */
  version: v.literal(1),
  path: v.pipe(v.string(), v.startsWith('/')),
  runtime: v.picklist(['containerd', 'docker', 'containers', 'k3s', 'rke2']),
  mirrorUrl: v.string(),
  registries: v.array(v.string()),
  /** The text of before; null: there was no file. */
  original: v.nullable(v.string()),
  /** SHA-256 of each text that Weir wrote over it: after a crash the file may hold the one before the last. */
  written: v.array(v.string()),
  /** Folders that were made for the file. */
  folders: v.array(v.string()),
});

export type Record = v.InferOutput<typeof Schema>;

export class Records {
  readonly #files: HostFiles;
  readonly #folder: string;

  constructor(files: HostFiles, folder: string) {
    this.#files = files;
    this.#folder = folder;
  }

  async all(): Promise<readonly Record[]> {
    const records: Record[] = [];
    for (const name of await this.#files.list(this.#folder)) {
      if (!name.endsWith('.json') || name.startsWith('.')) continue;
      const path = posix.join(this.#folder, name);
      records.push(parse(path, (await this.#files.read(path)) ?? ''));
    }
    return records;
  }

  async write(record: Record): Promise<void> {
    const text = `${JSON.stringify(record, null, 2)}\n`;
    await this.#files.write(this.#pathOf(record.path), text, { mode: RECORD_MODE });
  }

  async remove(path: string): Promise<void> {
    await this.#files.remove(this.#pathOf(path));
  }

  /** Removes records that were cut off while they were written. */
  async tidy(): Promise<void> {
    for (const name of await this.#files.list(this.#folder)) {
      if (name.endsWith(UNFINISHED)) await this.#files.remove(posix.join(this.#folder, name));
    }
  }

  /** Whether there is a folder though it holds no record: a run was cut off, or another one is at work. */
  async hasRemains(): Promise<boolean> {
    return (await this.#files.exists(this.#folder)) && (await this.all()).length === 0;
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
      'is no record of this version of Weir: use the version that wrote it, or remove it',
      cause,
    );
  }
}
