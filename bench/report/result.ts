/**
 * What `bench crowd`, `bench simulate` and `bench churn` report, one result for each system and turn. The form is
 * stable: fields are added, never renamed. bench/README.md explains each.
 */

/** Where bytes that reached nodes came from. */
export interface SourceBytes {
  readonly peers: number;
  readonly registry: number;
}

export interface NodeResult {
  readonly node: string;
  readonly zone: string;
  /** Seconds from the common start; null: it did not start. */
  readonly started_s: number | null;
  /** Seconds from the common start until the whole image was there and checked; null: failed, or killed. */
  readonly completed_s: number | null;
  /** Seconds from this node's start to the first byte of its first layer; null: there was none. */
  readonly first_byte_s: number | null;
  readonly bytes: SourceBytes;
  readonly sent_bytes: number;
  readonly cross_zone_bytes: number;
  readonly connections: number;
  readonly rss_bytes: number | null;
  /** In simulation with cores. */
  readonly cpu?: NodeCpu;
}

/** Of all nodes of a simulation with cores. */
export interface ClusterCpu {
  /** CPU seconds of a node, the mean. */
  readonly main_s: number;
  readonly workers_s: number;
  /** Of the node with the busiest main thread. */
  readonly busiest_main_s: number;
  /** Seconds that something waited for a main thread at most. */
  readonly main_wait_s: number;
}

/** CPU seconds of a simulated node; all of them count as main where both have less than a core. */
export interface NodeCpu {
  readonly main_s: number;
  readonly workers_s: number;
  /** Seconds that something waited for the main thread at most. */
  readonly main_wait_s: number;
}

export interface Failure {
  readonly node: string;
  readonly reason: string;
}

export interface BenchResult {
  readonly system: string;
  readonly nodes: number;
  /** From 1. */
  readonly turn: number;
  readonly seed: number;
  readonly image_bytes: number;
  /** max(F/U, F/b): nobody can be faster. */
  readonly lower_bound_s: number;
  /** From the common start to the last node's end. */
  readonly makespan_s: number;
  readonly makespan_ratio: number;
  /** Of the nodes' own times, each from its own start. */
  readonly p50_s: number;
  readonly p99_s: number;
  /** null where the runtime does not tell. */
  readonly first_byte_p50_s: number | null;
  readonly registry_bytes: number;
  /** registry_bytes over image_bytes. */
  readonly registry_ratio: number;
  readonly registry_requests: number;
  readonly cross_zone_bytes: number;
  /** All processes of the system; null in simulation without cores. */
  readonly cpu_s_per_gib: number | null;
  /** In simulation with cores. */
  readonly cpu?: ClusterCpu;
  /** Of the system's largest process on any node; null in simulation. */
  readonly rss_max_bytes: number | null;
  /** Of the node that had the most open at a time. */
  readonly connections_max: number;
  /** The same over all nodes, on average; in simulation. */
  readonly connections_mean?: number;
  readonly failures: number;
  readonly failure_reasons: readonly Failure[];
  readonly per_node: readonly NodeResult[];
  /** Seconds from the common start, and bytes that had left the registry by then. */
  readonly registry_curve: readonly (readonly [seconds: number, bytes: number])[];
}
