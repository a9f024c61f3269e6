/** `weir log-level` */
import { join } from 'node:path';
import { loadConfig } from '../../config/load.ts';
import { readFileBounded } from '../../config/read-file.ts';
import { LOG_LEVELS, type LogLevelReport } from '../../status/log-level.ts';
import { KIB } from '../../util/clock.ts';
import { isWeirError, WeirError } from '../../util/errors.ts';
import { adminAddress, askNode } from '../admin-address.ts';
import type { CliContext } from '../context.ts';

const MAX_TOKEN_FILE = 4 * KIB;
const TOKEN = /^[A-Za-z0-9_-]{1,256}$/;

export async function runLogLevelCommand(
  wanted: string | undefined,
  options: Readonly<Record<string, unknown>>,
  context: CliContext,
): Promise<void> {
  const level = LOG_LEVELS.find((each) => each === wanted);
  const address = await adminAddress(options, context);
  const file = level === undefined ? '' : await tokenFile(options, context);
  const token = level === undefined ? '' : await readToken(file);
  const report = await askNode(address, (client, signal) =>
    level === undefined ? client.logLevel({ signal }) : client.setLogLevel(level, token, { signal }),
  ).catch((error: unknown) => {
    throw explainToken(error, file);
  });
  context.stdout.write(`${options['json'] === true ? JSON.stringify(report) : describe(report)}\n`);
}

function describe({ level, configured }: LogLevelReport): string {
  return level === configured
    ? level
    : `${level} (${configured} is configured, and holds again after a restart)`;
}

async function tokenFile(options: Readonly<Record<string, unknown>>, context: CliContext): Promise<string> {
  const { tokenFile: named, config: file } = options;
  if (typeof named === 'string') return named;
  const { config } = await loadConfig({
    env: context.env,
    file: typeof file === 'string' ? file : undefined,
    readFile: readFileBounded,
  });
  return join(config['data.dir'], 'admin-token');
}

/** @throws WeirError `config_invalid` */
async function readToken(path: string): Promise<string> {
  const text = await readFileBounded(path, MAX_TOKEN_FILE);
  if (text === undefined) {
    const advice = 'a node writes it into its data folder: give another file with --token-file';
    throw new WeirError('config_invalid', `there is no token ${path} (${advice})`);
  }
  const token = text.trim();
  if (TOKEN.test(token)) return token;
  throw new WeirError('config_invalid', `${path}: this is no token`);
}

function explainToken(error: unknown, file: string): unknown {
  if (!isWeirError(error, 'upstream_unauthorized')) return error;
  const problem = `the token in ${file} is not that of this node: give its file with --token-file`;
  return new WeirError(error.code, problem, { cause: error });
}
