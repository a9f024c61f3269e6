/** `weir doctor` */
import type { Command } from 'commander';
import { isAbsolute, normalize } from 'node:path';
import type { DoctorContext } from '../doctor/check.ts';
import { brokenConfiguration } from '../doctor/configuration.ts';
import { examine, reportBroken, type DoctorReport } from '../doctor/doctor.ts';
import { Facts } from '../doctor/facts.ts';
import { renderDoctor } from '../doctor/view.ts';
import type { LoadedConfig } from '../../config/load.ts';
import { parseRegistryHost, type RegistryHost } from '../../oci/repository.ts';
import { isWeirError, toError, WeirError } from '../../util/errors.ts';
import { DEFAULT_COLUMNS, type TerminalOutput } from '../client/terminal.ts';
import { adminAddressOf } from '../admin-address.ts';
import { wantsColor, withSignals, type CliContext } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { loadCommandConfig } from './config-command.ts';

/** Columns of a terminal beyond which lines are hard to read. */
const MAX_COLUMNS = 110;

/** Resolves with the exit code. */
export async function runDoctorCommand(command: Command, context: CliContext): Promise<number> {
  const options: Record<string, unknown> = command.opts();
  const report = await withSignals(async (signal) => {
    const prepared = await prepare(command, context, signal);
    return 'broken' in prepared ? prepared.broken : await examine(prepared);
  });
  const output: TerminalOutput = context.stdout;
  const isTerminal = output.isTTY === true;
  const text =
    options['json'] === true
      ? JSON.stringify(report)
      : renderDoctor(report, {
          columns: isTerminal ? Math.min(MAX_COLUMNS, output.columns ?? DEFAULT_COLUMNS) : undefined,
          color: isTerminal && wantsColor(context),
        }).join('\n');
  context.stdout.write(`${text}\n`);
  return report.counts.wrong > 0 ? EXIT.unwell : EXIT.ok;
}

/**
 * What the checks need; the whole report if the configuration cannot be read.
 * @throws WeirError `bad_request`, `name_invalid` for a wrong option
 */
export async function prepare(
  command: Command,
  context: CliContext,
  signal: AbortSignal,
): Promise<DoctorContext | { readonly broken: DoctorReport }> {
  const options: Record<string, unknown> = command.opts();
  const named = registriesOf(options['registry']);
  const host = { root: folderOf('--host-root', options), stateFolder: folderOf('--state-dir', options) };
  const { version, env } = context;
  let loaded: LoadedConfig;
  try {
    loaded = await loadCommandConfig(command, context);
  } catch (error) {
    if (!isWeirError(error, 'config_invalid')) throw error;
    return { broken: reportBroken(version, brokenConfiguration(error)) };
  }
  const admin = adminOf(options['admin'], loaded);
  const facts = new Facts({ loaded, admin, host, userAgent: `weir/${version}`, env, signal });
  const registries = [...new Set([...loaded.config.registries.keys(), ...named])];
  return { loaded, host, facts, registries, version, env, signal };
}

function adminOf(admin: unknown, loaded: LoadedConfig): URL | Error {
  if (typeof admin === 'string') return adminAddressOf(admin, loaded).url;
  try {
    return adminAddressOf(undefined, loaded).url;
  } catch (error) {
    return toError(error);
  }
}

function registriesOf(value: unknown): readonly RegistryHost[] {
  const names = typeof value === 'string' ? value.split(',').map((name) => name.trim()) : [];
  return names.filter((name) => name !== '').map(parseRegistryHost);
}

function folderOf(flag: '--host-root' | '--state-dir', options: Readonly<Record<string, unknown>>): string {
  const folder = String(options[flag === '--host-root' ? 'hostRoot' : 'stateDir']);
  if (!isAbsolute(folder)) throw new WeirError('bad_request', `${flag}: "${folder}" is not an absolute path`);
  return normalize(folder);
}
