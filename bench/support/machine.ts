/** The machine, for a report: figures of two machines must not be compared. */
import { cpus, loadavg, release, totalmem, type as osType } from 'node:os';
import { run } from '../../test/support/program.ts';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** Bytes. */
  readonly memory: number;
  readonly kernel: string;
  readonly node: string;
  /** Processes that ran or waited to, on average over the minute before: the machine's other work. */
  readonly loadBefore: number;
  /** Versions by program. */
  readonly programs: Readonly<Record<string, string>>;
}

/** @param programs paths, and the argument that makes each tell its version */
export async function describeMachine(
  programs: Readonly<Record<string, readonly [path: string, argument: string]>>,
): Promise<Machine> {
  const versions: Record<string, string> = {};
  for (const [name, [path, argument]] of Object.entries(programs)) {
    const { stdout, stderr } = await run(path, [argument]); // nginx tells it on stderr
    versions[name] = /\d+\.\d+[\w.+~-]*/.exec(stdout + stderr)?.[0] ?? 'unknown';
  }
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    memory: totalmem(),
    kernel: `${osType()} ${release()}`,
    node: process.version,
    loadBefore: loadavg()[0] ?? 0,
    programs: versions,
  };
}
