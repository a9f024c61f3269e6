/** Programs that the build runs to their end. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { MIB } from '../../src/util/clock.ts';

const execute = promisify(execFile);

/** Bytes of output: no program of the build prints more. */
const MAX_OUTPUT = 16 * MIB;

const SEE = ': see deploy/image/README.md for what the build needs';

/** An error for people: its message says it all, so no stack is shown. */
export class CommandError extends Error {}

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

interface Outputs {
  readonly stdout?: string;
  readonly stderr?: string;
}

/** @returns its stdout, trimmed @throws CommandError */
export async function runOk(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const env = { ...process.env, LC_ALL: 'C.UTF-8', ...options.env };
  try {
    const { stdout } = await execute(command, [...args], { ...options, env, maxBuffer: MAX_OUTPUT });
    return stdout.trim();
  } catch (cause) {
    const { code, stderr = '', stdout = '' } = cause as NodeJS.ErrnoException & Outputs;
    if (code === 'ENOENT') throw new CommandError(`${command} is missing${SEE}`, { cause });
    const what = args.find((arg) => /^[a-z]+$/.test(arg)) ?? '';
    const told = [stdout, stderr].map((text) => text.trim()).filter((text) => text !== '');
    throw new CommandError(
      `${[command, what].join(' ').trim()} failed (exit code ${code}):\n${told.join('\n')}`,
      { cause },
    );
  }
}

/** @throws CommandError that names those of the programs that are missing */
export function requirePrograms(programs: readonly string[]): void {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const missing = programs.filter((program) => !folders.some((folder) => existsSync(join(folder, program))));
  if (missing.length > 0) throw new CommandError(`${missing.join(', ')}: missing${SEE}`);
}
