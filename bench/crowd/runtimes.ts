/** The runtimes by name. */
import type { Member, Scene } from './scene.ts';
import { fetchRuntime, type Runtime } from './runtime.ts';
import type { RunningSystem } from './systems/system.ts';

export function startRuntime(
  scene: Scene,
  system: RunningSystem,
  members: readonly Member[],
): Promise<Runtime> {
  return fetchRuntime(scene, system, members);
}
