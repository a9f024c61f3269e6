/** Runs the reader in a process of its own. */
import { fileURLToPath } from 'node:url';
import type { Digest } from '../../src/oci/digest.ts';
import { runOk } from '../../test/support/program.ts';
import type { ReaderResult, ReaderTarget, ReaderWish } from './reader.ts';

const READER = fileURLToPath(new URL('reader.ts', import.meta.url));

/**
 * Reads `url` `times` times over one connection.
 * @param digest digest that the bytes must have; checking it is slower than reading
 * @throws if an answer is not the expected one
 */
export async function readBlob(url: string, times: number, digest?: Digest): Promise<ReaderResult> {
  return read({ targets: [{ url, ...(digest !== undefined && { digest }) }], times, atOnce: 1 });
}

/**
 * Reads each target once over its own connection, `atOnce` at a time.
 * @throws if an answer is not the expected one
 */
export async function readBlobs(targets: readonly ReaderTarget[], atOnce: number): Promise<ReaderResult> {
  return read({ targets, times: 1, atOnce });
}

async function read(wish: ReaderWish): Promise<ReaderResult> {
  return JSON.parse(await runOk(process.execPath, [READER, JSON.stringify(wish)])) as ReaderResult;
}
