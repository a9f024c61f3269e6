/** `weir doctor`: all checks, side by side, each within a bound of time. No check can end it. */
import { SECOND } from '../../util/clock.ts';
import { abortable } from '../../util/async.ts';
import { errorMessage } from '../../util/errors.ts';
import { bootstrapNames } from './bootstrap.ts';
import { wrong, type Check, type CheckState, type DoctorContext, type Finding } from './check.ts';
import { clock } from './clock.ts';
import { CONFIGURATION, configuration } from './configuration.ts';
import { disk } from './disk.ts';
import { clusterKey } from './key.ts';
import { inotify, openFiles } from './limits.ts';
import { members, node } from './node.ts';
import { memberPorts } from './ports.ts';
import { registryChecks } from './registries.ts';
import { hostRecords, runtimeChecks } from './runtimes.ts';

/** Milliseconds for one check. */
const CHECK_TIMEOUT = 5 * SECOND;

export interface NamedFinding extends Finding {
  readonly name: string;
}

export interface DoctorReport {
  readonly version: string;
  readonly checks: readonly NamedFinding[];
  readonly counts: Readonly<Record<CheckState, number>>;
}

/** In the order in which they are shown: what others depend on comes first. */
function checksFor(context: Pick<DoctorContext, 'registries'>): readonly Check[] {
  const ofTheCluster = [configuration, node, clusterKey, bootstrapNames, members, memberPorts];
  return [
    ...ofTheCluster,
    ...registryChecks(context),
    hostRecords,
    ...runtimeChecks,
    disk,
    clock,
    openFiles,
    inotify,
  ];
}

export async function examine(context: DoctorContext): Promise<DoctorReport> {
  const checks = await Promise.all(checksFor(context).map((check) => runCheck(check, context)));
  context.signal.throwIfAborted();
  return reportOf(context.version, checks);
}

/** The report for a configuration that cannot be read. */
export function reportBroken(version: string, finding: Finding): DoctorReport {
  return reportOf(version, [{ name: CONFIGURATION, ...finding }]);
}

/** @param timeout milliseconds */
export async function runCheck(
  check: Check,
  context: DoctorContext,
  timeout: number = CHECK_TIMEOUT,
): Promise<NamedFinding> {
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(timeout)]);
  try {
    return { name: check.name, ...(await abortable(check.run({ ...context, signal }), signal)) };
  } catch (error) {
    if (signal.aborted) {
      const found = `no result within ${timeout / SECOND} s`;
      return { name: check.name, ...wrong(found, 'look whether the disk, the DNS or the network hangs') };
    }
    return { name: check.name, ...wrong(`the check failed: ${errorMessage(error)}`, 'please report this') };
  }
}

function reportOf(version: string, checks: readonly NamedFinding[]): DoctorReport {
  const counts = { ok: 0, warning: 0, wrong: 0, skipped: 0 };
  for (const { state } of checks) counts[state] += 1;
  return { version, checks, counts };
}
