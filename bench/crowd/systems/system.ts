/**
 * A measured system. It is started anew for each turn, with nothing cached. The runtimes of all nodes then pull through
 * the mirrors that it names.
 */
import type { SourceBytes } from '../../report/result.ts';
import type { CrowdSettings } from '../options.ts';
import type { RunningRuntime } from '../runtimes/runtime.ts';
import type { Member, Scene } from '../scene.ts';

/** Traffic that a node reports. */
export interface NodeTraffic {
  readonly bytes: SourceBytes;
  readonly sentBytes: number;
  readonly crossZoneBytes: number;
}

export interface RunningSystem extends AsyncDisposable {
  readonly versions: Readonly<Record<string, string>>;
  /** Seconds from the last node's start until all nodes knew each other; null if they need not. */
  readonly knownSeconds: number | null;
  /** URL of the mirror for the node's runtime, as seen from the node; undefined: the registry itself. */
  mirror(node: number): URL | undefined;
  /** Processes of the system on this node. */
  pids(node: number): readonly number[];
  /** Processes of the system that belong to no node. */
  readonly central: readonly number[];
  /** undefined if the system does not report it. */
  traffic(node: number): Promise<NodeTraffic | undefined>;
  /**
   * Milliseconds by which the node's event loop was late since the last call: 99 of 100 looks; undefined if it is dead, or
   * the system has none.
   */
  loopDelay?(node: number): Promise<number | undefined>;
  /** Kills the node's processes. */
  kill(node: number): Promise<void>;
  /** Its log, which is kept if a pull failed; empty if it has none. */
  log(node: number): string;
}

export interface System {
  readonly name: string;
  /** Source of bytes that neither a node nor its address in the registry's log tells. */
  readonly untold: keyof SourceBytes;
  /** Its own requests bear the User-Agent of its runtimes, so requests past it cannot be told apart. */
  readonly passesUserAgentOn?: true;
  /** Settings that it needs and that `scene.settings` lack, for people; undefined if nothing is missing. */
  lacks?(settings: CrowdSettings): string | undefined;
  /** Resolves when all nodes are ready. */
  start(scene: Scene, members: readonly Member[], runtime: RunningRuntime): Promise<RunningSystem>;
}
