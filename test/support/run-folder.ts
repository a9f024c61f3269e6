/** A folder that all processes of one run of tests share. A product that takes long to make is made there once, when it is first needed. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MINUTE } from '../../src/util/clock.ts';
import { runOk } from './program.ts';

const NAME = 'TEST_RUN_FOLDER';
const TIMEOUT: number = 5 * MINUTE;

/** Its path; test/run.sh names it, else it lasts as long as this process. Processes that are started from now on share it. */
export function runFolder(): string {
  const shared = process.env[NAME];
  if (shared !== undefined) return shared;
  const folder = mkdtempSync(join(tmpdir(), 'weir-test-run-'));
  process.env[NAME] = folder;
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * The folder `name` of the run, as `command` makes it: it gets the path of the folder as its last argument. Others wait for the
 * one that is at it, and try themselves if it fails or dies.
 */
export async function madeOnce(
  name: string,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const folder = join(runFolder(), name);
  await runOk('flock', [`${folder}.lock`, 'sh', '-c', MAKE, folder, ...command], { env, timeout: TIMEOUT });
  return folder;
}

/** $0: the folder; the rest: the command. */
const MAKE = 'test -e "$0" || { rm -rf "$0.new" && "$@" "$0.new" >&2 && mv "$0.new" "$0"; }';
