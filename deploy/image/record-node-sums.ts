/**
 * Adds a version of Node.js to node-sums.txt, by hand at each upgrade: `node deploy/image/record-node-sums.ts 26.11.0
 * --keyring pubring.kbx`. SHASUMS256.txt must have the signature of a release key of Node.js, and the archives of
 * nodejs.org must have its sums. The recorded sum is that of the binary within: npm's packages hold nothing else of it.
 */
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { CommandError, runOk } from './command.ts';
import { binaryName, NODE_SUMS, parseSums, sha256Of } from './node-sums.ts';
import { ARCHITECTURES } from './platforms.ts';

const NODEJS = 'https://nodejs.org/dist';
const USAGE =
  'record-node-sums.ts VERSION --keyring FILE (gpg/pubring.kbx of https://github.com/nodejs/release-keys)';

export interface RecordOptions {
  readonly version: string;
  /** Path of the keyring with the release keys, as gpgv reads it. */
  readonly keyring: string;
  /** URL of the dist folder; default: nodejs.org's. */
  readonly dist?: string;
}

/** @returns lines for node-sums.txt @throws CommandError */
export async function recordedSums({ version, keyring, dist = NODEJS }: RecordOptions): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'weir-node-sums-'));
  try {
    const fetchTo = async (name: string): Promise<string> => {
      const url = `${dist}/v${version}/${name}`;
      const answer = await fetch(url);
      if (!answer.ok) throw new CommandError(`${url}: status ${answer.status}`);
      const file = join(folder, name);
      await writeFile(file, await answer.bytes());
      return file;
    };
    const sums = await fetchTo('SHASUMS256.txt');
    await runOk('gpgv', ['--keyring', keyring, await fetchTo('SHASUMS256.txt.sig'), sums]);
    const wanted = parseSums(await readFile(sums, 'utf8'));
    const lines: string[] = [];
    for (const { nodePackage } of ARCHITECTURES) {
      const archive = `${nodePackage.replace(/^node-/, `node-v${version}-`)}.tar.gz`;
      const file = await fetchTo(archive);
      const found = await sha256Of(file);
      if (found !== wanted.get(archive)) {
        throw new CommandError(`${archive} has ${found}; SHASUMS256.txt wants ${wanted.get(archive)}`);
      }
      const member = `${archive.replace(/\.tar\.gz$/, '')}/bin/node`;
      await runOk('tar', ['-xzf', file, '--directory', folder, member]);
      lines.push(`${await sha256Of(join(folder, member))}  ${binaryName(nodePackage, version)}\n`);
    }
    return lines.join('');
  } finally {
    await rm(folder, { recursive: true });
  }
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    options: { keyring: { type: 'string' } },
    allowPositionals: true,
  });
  const [version] = positionals;
  if (version === undefined || values.keyring === undefined) throw new CommandError(USAGE);
  await appendFile(NODE_SUMS, await recordedSums({ version, keyring: values.keyring }));
}
