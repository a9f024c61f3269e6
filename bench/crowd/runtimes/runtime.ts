/** Who pulls on each node. A runtime is started anew for each turn, before the system that is measured. */
import type { Member, Scene, Wares } from '../scene.ts';
import type { RunningSystem } from '../systems/system.ts';

export interface PullResult {
  /** Seconds until the first byte of the config or a layer; null where the runtime does not tell. */
  readonly firstByteSeconds: number | null;
}

export interface RunningRuntime extends AsyncDisposable {
  readonly versions: Readonly<Record<string, string>>;
  /** What a containerd of the node offers to systems that work with it; undefined where there is none. */
  containerd(node: number): ContainerdPlaces | undefined;
  /** From now on pulls go through what the system calls the node's mirror. */
  connect(system: RunningSystem): Promise<void>;
  /** How the User-Agent begins with which it asks the registry. */
  readonly userAgent: string;
  /**
   * Pulls the image; rejects where it did not arrive, whole and right.
   * @param onFallback told why the registry is asked for what the mirror was to have, where the runtime says so
   */
  pull(
    node: number,
    wares: Wares,
    signal: AbortSignal,
    onFallback?: (reason: string) => void,
  ): Promise<PullResult>;
  /** The node dies: what runs there does too. */
  kill(node: number): Promise<void>;
  /** What it logged; empty where it keeps no log. */
  log(node: number): string;
}

export interface ContainerdPlaces {
  /** Path of its socket. */
  readonly socket: string;
  /** Folder of its content store. */
  readonly content: string;
}

export interface Runtime {
  readonly name: string;
  /** Resolves when all nodes are ready. */
  start(scene: Scene, members: readonly Member[]): Promise<RunningRuntime>;
}
