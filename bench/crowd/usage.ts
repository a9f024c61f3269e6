/** CPU time and memory of the processes of a system, as the kernel counts them. Dead processes are left out. */
import {
  cpuSeconds,
  peakResidentBytes,
  privateBytes,
  resetPeak,
  residentBytes,
} from '../support/process-usage.ts';
import type { RunningSystem } from './systems/system.ts';

/** Bytes that the processes of each node have in RAM now; null if there is none, or one died. */
export function residentOf(system: RunningSystem, nodes: number): Promise<readonly (number | null)[]> {
  return ofNodes(system, nodes, residentBytes);
}

/** Part of them that is shared with no other process. */
export function privateOf(system: RunningSystem, nodes: number): Promise<readonly (number | null)[]> {
  return ofNodes(system, nodes, privateBytes);
}

/** The highest value since {@link resetPeaks}. */
export function peaksOf(system: RunningSystem, nodes: number): Promise<readonly (number | null)[]> {
  return ofNodes(system, nodes, peakResidentBytes);
}

/** Bytes of each process that belongs to no node. */
export function centralPeaksOf({ central }: RunningSystem): Promise<readonly number[]> {
  return Promise.all(central.map((pid) => peakResidentBytes(pid)));
}

export async function resetPeaks(system: RunningSystem, nodes: number): Promise<void> {
  for (let node = 0; node < nodes; node++) for (const pid of system.pids(node)) await resetPeak(pid);
  for (const pid of system.central) await resetPeak(pid);
}

/** CPU seconds so far of all processes of the system. */
export async function cpuOf(system: RunningSystem, nodes: number): Promise<number> {
  const pids = Array.from({ length: nodes }, (_, node) => system.pids(node)).flat();
  const seconds = await Promise.all(pids.map((pid) => cpuSeconds(pid).catch(() => 0)));
  return seconds.reduce((sum, each) => sum + each, await centralCpuOf(system));
}

/** CPU seconds so far of the processes that belong to no node. */
export async function centralCpuOf({ central }: RunningSystem): Promise<number> {
  const seconds = await Promise.all(central.map((pid) => cpuSeconds(pid)));
  return seconds.reduce((sum, each) => sum + each, 0);
}

function ofNodes(
  system: RunningSystem,
  nodes: number,
  read: (pid: number) => Promise<number>,
): Promise<readonly (number | null)[]> {
  return Promise.all(
    Array.from({ length: nodes }, async (_, node) => {
      const pids = system.pids(node);
      if (pids.length === 0) return null;
      const sizes = await Promise.all(pids.map((pid) => read(pid).catch(() => null)));
      return sizes.includes(null) ? null : sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
    }),
  );
}
