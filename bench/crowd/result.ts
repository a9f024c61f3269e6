/** Fields that `bench crowd` reports besides those of all benches. */
import type { BenchResult, Failure } from '../report/result.ts';

export type { NodeResult } from '../report/result.ts';

export interface CrowdResult extends BenchResult {
  /** Median of the nodes of all waves but the first; null if there is one wave. */
  readonly later_p50_s: number | null;
  /** Bytes sent by the registry's interface, without TCP/IP headers, with retransmissions; null on loopback. */
  readonly registry_wire_bytes: number | null;
  /** Bytes over the links of all nodes, with headers, divided by the content that arrived; null on loopback. */
  readonly link_ratio: number | null;
  /** Most TCP connections that it had at a time; null on loopback. */
  readonly registry_connections_max: number | null;
  /**
   * Requests, with HEAD, that runtimes made to the registry themselves because their mirror had not answered well,
   * and the bytes of their bodies: a part of registry_requests and registry_bytes. null without a mirror.
   */
  readonly fallback_requests: number | null;
  readonly fallback_bytes: number | null;
  /** Their reasons, if the runtime tells them (`fetch` does). */
  readonly fallback_reasons: readonly Failure[];
  /** Part of cpu_s_per_gib: the main threads of the processes on nodes; null if there are none, or nothing arrived. */
  readonly main_cpu_s_per_gib: number | null;
  /** Milliseconds by which the event loop of a node was late, 99 of 100 looks, on the worst node; null if none told. */
  readonly loop_p99_ms: number | null;
  /** Share of all cores in use while nodes pulled, 0 to 1, with other work of the machine. */
  readonly cpu_busy: number;
  readonly cpu_stolen: number;
  /** Seconds until all nodes of the system were ready. */
  readonly start_s: number;
  /** Part of it, from the last node's start until all knew each other; null if they need not. */
  readonly known_s: number | null;
  /** CPU seconds of all processes of the system until nodes began to pull. */
  readonly start_cpu_s: number;
  /** Memory of a node's processes before the pull, median over the nodes; null if there are none. */
  readonly rss_idle_bytes: number | null;
  /** Part of it that is shared with no other process. */
  readonly private_idle_bytes: number | null;
  /** Nodes that were killed as planned: no failures, and in no time. */
  readonly died: number;
  /** Nodes with slow links: they can count as failures, and are in no time. */
  readonly slow: number;
  readonly versions: Readonly<Record<string, string>>;
}
