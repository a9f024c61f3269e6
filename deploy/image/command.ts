/** Programs that the build runs to their end. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { MIB } from '../../src/clock.ts';

const execute = promisify(execFile);

/** A program that prints more is not one of those that the build runs. */
const MAX_OUTPUT: number = 16 * MIB;

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** @returns what it printed on stdout, trimmed */
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
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new Error(`${command} is missing: see deploy/image/README.md for what the build needs`, {
        cause,
      });
    }
    throw cause; // its message holds the command and its stderr
  }
}
