/** `weir bugreport` */
import type { Command } from 'commander';
import { stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { archiveOf } from '../bugreport/archive.ts';
import { contentsOf } from '../bugreport/contents.ts';
import { formatBytes } from '../client/format.ts';
import { examine } from '../doctor/doctor.ts';
import { systemCode, WeirError } from '../../util/errors.ts';
import { withSignals, type CliContext } from '../context.ts';
import { prepare } from './doctor-command.ts';

/** Stands for standard output. */
const STDOUT = '-';
/** Its owner alone may read it. */
const FILE_MODE = 0o600;

export async function runBugreportCommand(command: Command, context: CliContext): Promise<void> {
  const { out, log }: { readonly out?: string; readonly log?: string } = command.opts();
  const now = new Date();
  const folder = `weir-bugreport-${hostname().replaceAll(/[^\w.-]/g, '_')}-${stampOf(now)}`;
  const target = out ?? `${folder}.tar.gz`;
  const { files, missing } = await withSignals(async (signal) => {
    const prepared = await prepare(command, context, signal);
    const doctor = 'broken' in prepared ? prepared.broken : await examine(prepared);
    const examined = 'broken' in prepared ? undefined : prepared;
    const { version } = context;
    const contents = await contentsOf({ doctor, context: examined, version, log, now, signal });
    const archive = await archiveOf(folder, contents.files, now);
    if (target === STDOUT) context.stdout.write(archive);
    else await save(target, archive);
    return contents;
  });
  const { stdout, stderr } = context;
  const people = target === STDOUT ? stderr : stdout;
  if (target !== STDOUT) people.write(`${target}: ${formatBytes((await stat(target)).size)}\n`);
  people.write(`  ${files.map(({ name }) => name).join(', ')}\n`);
  for (const line of missing) people.write(`  without ${line}\n`);
  people.write(
    'Credentials were taken out. Names of registries, repositories and machines, and addresses, are in it: look through it\n' +
      'before you hand it on.\n',
  );
}

/** Not over another file: as root in a folder for all, the name might be a link that somebody has laid. */
async function save(path: string, archive: Uint8Array): Promise<void> {
  try {
    await writeFile(path, archive, { flag: 'wx', mode: FILE_MODE });
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error;
    throw new WeirError('bad_request', `--out: ${path} exists already`);
  }
}

/** `20260131T120000Z` */
function stampOf(time: Date): string {
  return time.toISOString().replaceAll(/[-:]|\.\d+/g, '');
}
