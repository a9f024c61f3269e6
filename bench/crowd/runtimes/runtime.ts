/** The program that pulls on each node. It is started anew for each turn, before the measured system. */
import type { Member, Scene, Wares } from '../scene.ts';
import type { RunningSystem } from '../systems/system.ts';

export interface PullResult {
  /** Seconds until the first byte of the config or a layer; null if the runtime does not tell. */
  readonly firstByteSeconds: number | null;
}

export interface RunningRuntime extends AsyncDisposable {
  readonly versions: Readonly<Record<string, string>>;
  /** The node's containerd, for systems that work with it; undefined if there is none. */
  containerd(node: number): ContainerdPlaces | undefined;
  /** From now on pulls go through the node's mirror, which the system names. */
  connect(system: RunningSystem): Promise<void>;
  /** Start of the User-Agent with which it asks the registry. */
  readonly userAgent: string;
  /**
   * Pulls the image; rejects if it did not arrive whole and right.
   * @param onFallback called with the reason of a request past the mirror, if the runtime tells it
   */
  pull(
    node: number,
    wares: Wares,
    signal: AbortSignal,
    onFallback?: (reason: string) => void,
  ): Promise<PullResult>;
  /** The node dies, and all that runs on it. */
  kill(node: number): Promise<void>;
  /** Its log; empty if it keeps none. */
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
