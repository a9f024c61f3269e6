/** Runs the reader in a process of its own. */
import { fileURLToPath } from 'node:url';
import type { Digest } from '../../src/oci/digest.ts';
import { runOk } from '../../test/support/program.ts';
import type { ReaderResult } from './reader.ts';

const READER = fileURLToPath(new URL('reader.ts', import.meta.url));

/**
 * Reads `url` `times` times over one connection.
 * @param digest digest that the bytes must have; checking it is slower than reading
 * @throws if an answer is not the expected one
 */
export async function readBlob(url: string, times: number, digest?: Digest): Promise<ReaderResult> {
  const check = digest === undefined ? [] : [digest];
  const printed = await runOk(process.execPath, [READER, url, String(times), ...check]);
  return JSON.parse(printed) as ReaderResult;
}
