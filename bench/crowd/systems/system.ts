/**
 * Who is measured. A system is started anew for each turn, with nothing cached; the runtimes of all nodes then pull
 * through what it calls their mirror.
 */
import type { SourceBytes } from '../../report/result.ts';
import type { CrowdSettings } from '../options.ts';
import type { RunningRuntime } from '../runtimes/runtime.ts';
import type { Member, Scene } from '../scene.ts';

/** What a node tells of its traffic. */
export interface NodeTraffic {
  readonly bytes: SourceBytes;
  readonly sentBytes: number;
  readonly crossZoneBytes: number;
}

export interface RunningSystem extends AsyncDisposable {
  readonly versions: Readonly<Record<string, string>>;
  /** Seconds from the last node's start until all nodes knew each other; null where they need not. */
  readonly knownSeconds: number | null;
  /** URL of what the node's runtime is to ask, as seen from the node; undefined: the registry itself. */
  mirror(node: number): URL | undefined;
  /** Processes of the system on this node. */
  pids(node: number): readonly number[];
  /** Processes of the system that belong to no node. */
  readonly central: readonly number[];
  /** undefined where the system does not tell. */
  traffic(node: number): Promise<NodeTraffic | undefined>;
  /** The node's processes die as by the kernel's hand. */
  kill(node: number): Promise<void>;
  /** What it logged, to be kept where a pull failed; empty where it keeps no log. */
  log(node: number): string;
}

export interface System {
  readonly name: string;
  /** Where bytes come from that neither a node nor its address in the registry's log tells of. */
  readonly untold: keyof SourceBytes;
  /** Its own requests to the registry bear the User-Agent of its runtimes: who goes past it cannot be told. */
  readonly passesUserAgentOn?: true;
  /** What `scene.settings` lack that it needs, for people; undefined where nothing is missing. */
  lacks?(settings: CrowdSettings): string | undefined;
  /** Resolves when all nodes are ready. */
  start(scene: Scene, members: readonly Member[], runtime: RunningRuntime): Promise<RunningSystem>;
}
