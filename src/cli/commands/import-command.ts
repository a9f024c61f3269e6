/** `weir import` */
import { createReadStream } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { packedLayout } from '../../archive/oci-archive.ts';
import { formatBytes } from '../client/format.ts';
import { loadConfig } from '../../config/load.ts';
import { readFileBounded } from '../../config/read-file.ts';
import type { Config } from '../../config/settings.ts';
import { formatImageReference, parseImageReference } from '../../oci/reference.ts';
import { AdminClient } from '../../status/admin-client.ts';
import { IMPORT_TOKEN, type ImportReport } from '../../status/import-report.ts';
import { errorMessage, systemCode, WeirError } from '../../util/errors.ts';
import { adminAddress, explainSilence } from '../admin-address.ts';
import { withSignals, type CliContext } from '../context.ts';

export async function runImportCommand(
  file: string | undefined,
  options: Readonly<Record<string, unknown>>,
  context: CliContext,
): Promise<void> {
  const { name, remove, list, json } = options;
  if ((file === undefined) === (remove === undefined && list !== true)) {
    throw new WeirError('bad_request', 'name either an archive, or --remove REF, or --list');
  }
  const address = await adminAddress(options, context);
  const config = await configOf(options, context);
  const whole = (text: unknown): string | undefined =>
    typeof text === 'string'
      ? formatImageReference(parseImageReference(text, config['mirror.default-registry']))
      : undefined;
  const removed = whole(remove);
  const called = whole(name);
  const imports = await withSignals(async (signal) => {
    await using client = new AdminClient(address.url);
    const known = await client.imports({ signal }).catch((error: unknown) => {
      throw explainSilence(error, address);
    });
    if (list === true) return known.imports;
    if (removed === undefined && !known.trusted) {
      const what = `the node at ${client.origin} takes no imported images: set access.trust-imported to "yes" on it`;
      throw new WeirError('import_refused', `${what}, and on every node that is to serve them`);
    }
    const token = await readToken(options['tokenFile'], config);
    if (removed !== undefined) return (await client.removeImport(removed, { token, signal })).imports;
    return (await client.import(await archiveOf(file ?? '-'), called, { token, signal })).imports;
  });
  if (json === true) context.stdout.write(`${JSON.stringify(imports)}\n`);
  else
    for (const each of imports)
      context.stdout.write(`${removed === undefined ? '' : 'removed '}${lineOf(each)}\n`);
}

function lineOf({ name, digest, size }: ImportReport): string {
  return `${name} ${digest} ${formatBytes(size)}`;
}

async function configOf(options: Readonly<Record<string, unknown>>, context: CliContext): Promise<Config> {
  const file = options['config'];
  const { config } = await loadConfig({
    env: context.env,
    file: typeof file === 'string' ? file : undefined,
    readFile: readFileBounded,
  });
  return config;
}

async function readToken(file: unknown, config: Config): Promise<string> {
  const path = typeof file === 'string' ? file : join(config['data.dir'], IMPORT_TOKEN);
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (cause) {
    const problem = `the import token of the node cannot be read (${errorMessage(cause)})`;
    const advice = "run this as root or as the node's user, or name the file with --token-file";
    throw new WeirError('import_refused', `${problem}: ${advice}`, { cause });
  }
}

/** @throws WeirError `bad_request` if the file cannot be read */
async function archiveOf(file: string): Promise<Readable> {
  if (file === '-') return process.stdin;
  try {
    if ((await stat(file)).isDirectory()) return Readable.from(packedLayout(file));
    await (await open(file, 'r')).close(); // else the node would be told first
    return createReadStream(file, { highWaterMark: 256 * 1024 });
  } catch (cause) {
    const reason = systemCode(cause) === 'ENOENT' ? 'there is no such file' : errorMessage(cause);
    throw new WeirError('bad_request', `${file} cannot be read: ${reason}`, { cause });
  }
}
