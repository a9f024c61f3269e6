/** Sums of nodejs.org's binaries, to check those of npm, which others publish. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandError } from './command.ts';

export const NODE_SUMS: string = join(import.meta.dirname, 'node-sums.txt');

/** As node-sums.txt names the binary of an npm package. */
export function binaryName(nodePackage: string, version: string): string {
  return `${nodePackage}-${version}/bin/node`;
}

/** Sums by names, of text in the form of sha256sum. */
export function parseSums(text: string): ReadonlyMap<string, string> {
  const found = [...text.matchAll(/^([0-9a-f]{64}) [ *](\S+)$/gm)];
  return new Map(found.map(([, sum = '', name = '']) => [name, sum]));
}

export async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** @throws CommandError if the binary at `file` is not that of nodejs.org, or nobody has recorded that one's sum */
export async function checkBinary(file: string, nodePackage: string, version: string): Promise<void> {
  const name = binaryName(nodePackage, version);
  const wanted = parseSums(await readFile(NODE_SUMS, 'utf8')).get(name);
  if (wanted === undefined) {
    const how = `run: node deploy/image/record-node-sums.ts ${version} --keyring FILE`;
    throw new CommandError(
      `deploy/image/node-sums.txt has no sum of ${name}; where nodejs.org is reached, ${how}`,
    );
  }
  const found = await sha256Of(file);
  if (found === wanted) return;
  throw new CommandError(`${file} is not what nodejs.org publishes: its SHA-256 is ${found}, not ${wanted}`);
}
